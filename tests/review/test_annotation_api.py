"""Annotations: kept, one's own, and GeoJSON."""

import uuid

import pytest

from parfocal.review.accounts.roles import Role

POINT = {"type": "Point", "coordinates": [10.5, 20.0]}
BOX = {"type": "Polygon", "coordinates": [[[0, 0], [9, 0], [9, 5], [0, 5], [0, 0]]]}


@pytest.fixture
def path(slide_id):
    return f"/api/slides/{slide_id}/annotations"


def test_what_is_drawn_is_there_after_a_restart(server, path):
    kept = server.local().post(path, json={"geometry": BOX, "label": "cluster"}).json()
    (found,) = server.restarted().local().get(path).json()["features"]
    assert found == kept
    assert found["geometry"] == BOX
    assert found["properties"]["name"] == "cluster"


def test_the_file_is_geojson_as_qupath_imports_it(server, path, slide_id):
    browser = server.local()
    for drawn in ({"geometry": POINT, "label": "coccus"}, {"geometry": BOX}, {"geometry": POINT, "label": "a: b"}):
        browser.post(path, json=drawn)
    answer = browser.get(f"/slides/{slide_id}/annotations.geojson")
    assert "attachment" in answer.headers["content-disposition"]
    told = answer.json()
    assert told["type"] == "FeatureCollection"
    point, box, derived = told["features"]
    assert (point["geometry"], box["geometry"]) == (POINT, BOX)  # px of level 0 from the upper left corner, y down
    for feature in told["features"]:
        assert feature["type"] == "Feature"
        assert str(uuid.UUID(feature["id"])) == feature["id"]
        properties = feature["properties"]
        assert set(properties) <= {"objectType", "name", "color", "classification", "metadata"}  # others are lost
        assert properties["objectType"] == "annotation"
        assert len(properties["color"]) == 3
        assert {type(value) for value in properties["metadata"].values()} == {str}
    assert point["properties"]["classification"] == {"name": "coccus", "color": point["properties"]["color"]}
    assert "classification" not in box["properties"]
    assert (derived["properties"]["name"], "classification" in derived["properties"]) == ("a: b", False)


def test_a_label_is_changed_and_an_annotation_removed(server, path):
    browser = server.local()
    one = browser.post(path, json={"geometry": POINT}).json()
    changed = browser.patch(f"/api/annotations/{one['id']}", json={"label": "yeast"}).json()
    assert (changed["properties"]["name"], changed["geometry"]) == ("yeast", POINT)
    assert browser.delete(f"/api/annotations/{one['id']}").status_code == 204
    assert browser.delete(f"/api/annotations/{one['id']}").status_code == 404
    assert browser.get(path).json()["features"] == []


def test_a_reader_sees_only_what_he_drew_himself(server, path):
    raj, mia = server.signed_in("raj"), server.signed_in("mia")
    one = raj.post(path, json={"geometry": POINT}).json()
    assert mia.get(path).json()["features"] == []
    assert mia.patch(f"/api/annotations/{one['id']}", json={"label": "x"}).status_code == 404
    assert mia.delete(f"/api/annotations/{one['id']}").status_code == 404
    lead = server.signed_in("lead", Role.LEAD)
    assert [f["properties"]["metadata"]["author"] for f in lead.get(path).json()["features"]] == ["raj"]
    assert lead.delete(f"/api/annotations/{one['id']}").status_code == 403
    assert len(raj.get(path).json()["features"]) == 1


def test_nothing_is_drawn_without_the_pages_token(server, path):
    browser = server.local()
    del browser.headers["x-form-token"]
    assert browser.post(path, json={"geometry": POINT}).status_code == 403


@pytest.mark.parametrize(
    "drawn",
    [
        {},
        {"geometry": {"type": "Point", "coordinates": [1]}},
        {"geometry": {"type": "Point", "coordinates": [1e300, 0]}},
        {"geometry": {"type": "Circle", "coordinates": [1, 2]}},
        {"geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1]]]}},
        {"geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [0, 0]]]}},
        {"geometry": {"type": "Polygon", "coordinates": [[[0, 0]] * 6000]}},
        {"geometry": POINT, "label": "x" * 201},
        {"geometry": POINT, "label": "null\x00byte"},
    ],
)
def test_what_is_no_annotation_is_refused(server, path, drawn):
    browser = server.local()
    assert browser.post(path, json=drawn).status_code == 422
    assert browser.get(path).json()["features"] == []


def test_there_is_nothing_to_draw_on_a_slide_that_there_is_not(server):
    assert server.local().post("/api/slides/000000000000/annotations", json={"geometry": POINT}).status_code == 404
