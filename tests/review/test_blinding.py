"""Blinding attacked: everything that a reader can get is searched for what would tell slide, modality or findings."""

import io
import re

import cv2
import numpy as np
import pytest
from PIL import Image
from postgres import new_database
from reviewing import Server, routes_of
from sqlalchemy import select
from studying import MODALITIES, READERS, SECRETS, SLIDES, Study, new_key, write_slides

from parfocal.review.database.tables import SheetRow, SlideRow
from parfocal.review.settings import ServeSettings
from parfocal.review.sheets.frames import HEIGHT, WIDTH

FINDING = "seen by mia alone"


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def new_url(request, tmp_path_factory):
    """`new_url()`: a database of either kind; PostgreSQL in the long tests."""
    if request.param == "postgresql":
        pytest.importorskip("psycopg", reason="needs psycopg (the postgres extra)")
        servers = request.getfixturevalue("postgres"), request.getfixturevalue("postgres_template")
        return lambda: new_database(servers[0], like=servers[1])
    return lambda: f"sqlite:///{tmp_path_factory.mktemp('blinding') / 'review.sqlite'}"


@pytest.fixture(scope="module")
def study(tmp_path_factory, new_url):
    """Running; mia has entered something, raj has one reading open that has an image."""
    folder = tmp_path_factory.mktemp("to read")
    write_slides(folder)
    study = Study(Server(ServeSettings(str(folder), new_url())))
    study.enter("mia", study.begin("mia"), what="answered", item="comment", words=FINDING)
    while study.case(sheet_id := study.begin("raj"))[1] == "glass":
        study.read("raj", sheet_id)
    study.open_sheet = sheet_id
    return study


def slide_ids(study):
    with study.server.services.database.reading() as session:
        return list(session.scalars(select(SlideRow.id)))


def sheets(study, reader):
    with study.server.services.database.reading() as session:
        return list(session.scalars(select(SheetRow).where(SheetRow.reader == reader)))


def everything(study, browser):
    """(path, answer) of each page and API address that a reader can ask for, foreign ones too."""
    known = {
        "slide_id": slide_ids(study),
        "study_id": [study.id],
        "sheet_id": [sheet.id for reader in READERS for sheet in sheets(study, reader)],
        "number": ["0", "1", study.open_sheet],
        "version": ["1"],
        "field": ["0"],
        "level": ["0"],
        "column": ["0"],
        "row": ["0"],
        "kind": ["json", "csv"],
        "name": ["mia"],
        "stack": ["0" * 12],
    }
    for route in routes_of(study.server.app):
        if "GET" not in (getattr(route, "methods", None) or ()):
            continue
        paths = [route.path]
        for name in re.findall(r"\{(\w+)(?::\w+)?\}", route.path):
            values = known.get(name, ["0"])
            paths = [re.sub(rf"\{{{name}(:\w+)?\}}", value, path) for path in paths for value in values]
        for path in paths:
            if "events" not in path and "live" not in path:  # these never end
                yield path, browser.get(path)


def test_no_page_no_json_no_header_and_no_picture_tells_a_reader_what_a_slide_is(study):
    secrets = [*SECRETS, *slide_ids(study), FINDING, "automated", "manual", "100x", "bench"]
    asked = list(everything(study, study.readers["raj"]))
    got = [(path, answer) for path, answer in asked if answer.status_code == 200]
    assert {"/studies", f"/sheets/{study.open_sheet}", "/", "/api/slides"} <= {path for path, _ in got}
    for path, answer in asked:
        told = str(dict(answer.headers)) + answer.content.decode("latin-1")
        for secret in secrets:
            if secret not in path and path != "/openapi.json":
                assert secret not in told, (path, secret)


def test_a_slide_of_the_study_is_nowhere_else(study):
    raj = study.readers["raj"]
    assert raj.get("/api/slides").json() == []
    for slide_id in slide_ids(study):
        for path in ("", "/thumbnail.jpg", "/report", "/tiles/x/0/0_0.jpg", "/annotations.geojson"):
            assert raj.get(f"/slides/{slide_id}{path}").status_code == 404
        for path in ("", "/overlays", "/annotations"):
            assert raj.get(f"/api/slides/{slide_id}{path}").status_code == 404
        assert raj.post(f"/slides/{slide_id}/report", data={"form": "gram", "fields": "1"}).status_code == 404
    assert len(study.lead.get("/api/slides").json()) == len(SLIDES) * len(MODALITIES)


@pytest.fixture
def reported(tmp_path):
    """(study, slide, draft, signed report, draft of an amendment) of raj before the start; an export lies there."""
    write_slides(tmp_path)
    export = tmp_path / "doe-0.tif"
    cv2.imwrite(str(export), np.full((64, 64, 3), 200, np.uint8))
    server = Server(ServeSettings(str(tmp_path), f"sqlite:///{tmp_path / 'review.sqlite'}"))
    study = Study(server, start=False, show=[one.id for one in server.services.shelf.slides() if "." not in one.place])
    raj, slide = study.readers["raj"], next(one for one in server.services.shelf.slides() if "scan" in one.place).id
    assert len(raj.get("/api/slides").json()) == len(SLIDES) * len(MODALITIES) + 1

    def draft():
        answer = raj.post(f"/slides/{slide}/report", data={"form": "gram", "fields": "2"})
        return answer.headers["location"].rpartition("/")[2]

    signed = draft()
    study.enter("raj", signed, what="looked", frame=0)
    number = raj.post(f"/sheets/{signed}/submit").headers["location"].rpartition("/")[2]
    amended = raj.post(f"/reports/{number}/amend", data={"reason": "again"}).headers["location"].rpartition("/")[2]
    open_draft = draft()
    return study, slide, open_draft, number, amended


def test_reports_and_drafts_from_before_the_start_show_no_slide_until_the_study_is_closed(reported):
    study, slide, draft, number, amended = reported
    raj = study.readers["raj"]
    pages = [f"/reports/{number}", f"/reports/{number}/1.json", f"/reports/{number}/1.pdf"]
    pages += [f"{before}/{one}" for one in (draft, amended) for before in ("/sheets", "/api/sheets")]
    pages += [f"/sheets/{one}/frames/0.jpg" for one in (draft, amended)]
    assert [raj.get(path).status_code for path in pages] == [200] * len(pages)
    study.send("start")
    assert [raj.get(path).status_code for path in pages] == [404] * len(pages)
    assert raj.post(f"/reports/{number}/amend", data={"reason": "to look"}).status_code == 404
    for path in (f"/sheets/{draft}/submit", f"/sheets/{draft}/pause", f"/sheets/{draft}/continue"):
        assert raj.post(path).status_code == 404
    body = {"key": new_key(), "entry": {"what": "looked", "frame": 0}}
    assert raj.post(f"/api/sheets/{draft}/entries", json=body).status_code == 404
    listed = raj.get("/reports").text
    assert not [told for told in (slide, draft, number, amended) if told in listed]
    assert study.lead.get(f"/reports/{number}").status_code == 200
    study.send("close", broken_off="yes")
    assert [raj.get(path).status_code for path in pages] == [200] * len(pages)
    assert number in raj.get("/reports").text


def test_no_other_image_of_the_glass_is_shown_to_a_reader_while_the_study_runs(reported):
    study, *_ = reported
    study.send("start")
    raj = study.readers["raj"]
    assert raj.get("/api/slides").json() == []
    assert "in your <a" in raj.get("/").text
    export = next(one for one in study.server.services.shelf.slides() if one.place == "doe-0.tif").id
    assert raj.get(f"/slides/{export}").status_code == 404
    assert study.lead.get(f"/slides/{export}").status_code == 200


def test_slides_are_there_again_for_who_reads_no_study(study):
    other = study.server.signed_in("paul")
    assert len(other.get("/api/slides").json()) == len(SLIDES) * len(MODALITIES)


@pytest.fixture(scope="module")
def looks(study):
    """(headers, bytes) of every frame of a reading in each modality."""
    found = {}
    for sheet in sheets(study, "raj"):
        case = study.case(sheet.id)
        if case[1] == "glass":
            continue
        with study.server.services.database.writing() as session:
            session.get(SheetRow, sheet.id).phase = "open"
        answers = [study.readers["raj"].get(f"/sheets/{sheet.id}/frames/{n}.jpg") for n in range(len(sheet.frames))]
        found[case] = [(dict(answer.headers), answer.content) for answer in answers]
    return found


def test_frames_of_all_modalities_have_one_size_one_kind_of_jpeg_and_no_metadata(looks):
    assert {modality for _, modality in looks} == set(MODALITIES)
    kinds, heads = set(), set()
    for headers, encoded in (one for frames in looks.values() for one in frames):
        image = Image.open(io.BytesIO(encoded))
        kinds.add((image.size, image.mode, str(image.quantization), str(image.layer), str(sorted(image.info))))
        heads.add(encoded[: encoded.index(b"\xff\xda")][:20])
        assert not image.getexif()
        assert b"Exif" not in encoded
        assert b"\xff\xfe" not in encoded[: encoded.index(b"\xff\xda")]  # a comment
        del headers["content-length"]
    assert len(kinds) == len(heads) == 1
    assert next(iter(kinds))[0] == (WIDTH, HEIGHT)
    assert len({str(sorted(headers.items())) for frames in looks.values() for headers, _ in frames}) == 1


def test_no_header_of_a_frame_tells_its_file(looks):
    for headers, _ in (one for frames in looks.values() for one in frames):
        assert not {"etag", "last-modified", "content-disposition", "server-timing", "date"} & set(headers)
        assert headers["cache-control"] == "no-store"


def test_what_a_program_is_told_of_a_sheet_differs_in_the_scale_alone(study, looks):
    told = {}
    for sheet in sheets(study, "raj"):
        case = study.case(sheet.id)
        if case in looks and not study.readers["raj"].get(f"/api/sheets/{sheet.id}").json()["typed"]:
            answer = study.readers["raj"].get(f"/api/sheets/{sheet.id}").json()
            scale = answer.pop("um_per_px")
            assert len(f"{scale:g}".replace(".", "").lstrip("0")) <= 3
            told[case] = (str(sorted(answer.items())), scale)
    assert len({words for words, _ in told.values()}) == 1
    assert len({scale for _, scale in told.values()}) == len(MODALITIES)


def test_pages_of_readings_differ_in_the_code_alone(study, looks):
    pages = set()
    for sheet in sheets(study, "raj"):
        if study.case(sheet.id) in looks:
            page = study.readers["raj"].get(f"/sheets/{sheet.id}").text
            pages.add(page.replace(sheet.id, "ID").replace(sheet.code, "CODE"))
    assert len(pages) == 1


def test_identifiers_are_random_and_tell_no_order(study):
    mine = sheets(study, "raj")
    by_id = [study.case(sheet.id) for sheet in sorted(mine, key=lambda sheet: sheet.id)]
    planned = [(one["case"]["slide"], one["case"]["modality"]) for one in study.row.plan["assignments"]]
    assert by_id != planned[: len(by_id)]
    assert len({sheet.id for sheet in mine}) == len(mine)
    with study.server.services.database.reading() as session:
        codes = [(sheet.reader, sheet.code) for sheet in session.scalars(select(SheetRow))]
    assert len(set(codes)) == len(codes)


def test_nothing_in_an_answer_counts_what_others_do(study):
    """A number that rises with the entries of all readers would tell how fast the others read."""
    answer = study.enter("raj", study.open_sheet, what="answered", item="comment", words="a")
    study.enter("mia", study.begin("mia"), what="answered", item="comment", words="b")
    assert study.enter("raj", study.open_sheet, what="answered", item="comment", words="a") == answer


def test_a_reader_cannot_open_a_reading_of_another_one_or_one_that_is_not_begun(study_of_two):
    study = study_of_two
    study.begin("mia")
    raj = study.readers["raj"]
    for reader in READERS:
        for sheet in sheets(study, reader):
            for path in (f"/sheets/{sheet.id}", f"/sheets/{sheet.id}/frames/0.jpg", f"/api/sheets/{sheet.id}"):
                assert raj.get(path).status_code == 404
            for what in ("pause", "continue", "submit"):
                assert raj.post(f"/sheets/{sheet.id}/{what}").status_code == 404
            body = {"key": new_key(), "entry": {"what": "interpretable", "told": False}}
            assert raj.post(f"/api/sheets/{sheet.id}/entries", json=body).status_code == 404


@pytest.fixture
def study_of_two(study, new_url):
    settings = ServeSettings(study.server.settings.source, new_url())
    return Study(Server(settings))


def test_frames_are_there_only_while_the_reading_is_open(study_of_two):
    study, raj = study_of_two, study_of_two.readers["raj"]
    while study.case(sheet_id := study.begin("raj"))[1] == "glass":
        study.read("raj", sheet_id)
    for number in (-1, 2, 10**6):
        assert raj.get(f"/sheets/{sheet_id}/frames/{number}.jpg").status_code == 404
    study.read("raj", sheet_id)
    assert raj.get(f"/sheets/{sheet_id}/frames/0.jpg").status_code == 404
    assert "submitted" in raj.get(f"/sheets/{sheet_id}").text


def test_a_study_is_not_there_for_who_does_not_read_it(study_of_two):
    eve = study_of_two.server.signed_in("eve")
    assert eve.post(f"{study_of_two.path}/next").status_code == 404
    assert study_of_two.row.name not in eve.get("/studies").text


def test_a_forged_or_replayed_form_of_another_browser_enters_nothing(study_of_two):
    study = study_of_two
    sheet_id = study.begin("raj")
    raj, mia = study.readers["raj"], study.readers["mia"]
    body = {"key": new_key(), "entry": {"what": "interpretable", "told": False}}
    own = raj.headers.pop("x-form-token")
    for token in ("", "0" * 64, mia.headers["x-form-token"]):
        answer = raj.post(f"/api/sheets/{sheet_id}/entries", json=body, headers={"x-form-token": token})
        assert answer.status_code == 403
        assert raj.post(f"/sheets/{sheet_id}/submit", data={"form_token": token}).status_code == 403
    assert raj.get(f"/api/sheets/{sheet_id}").json()["interpretable"] is True
    from_elsewhere = {"x-form-token": own, "origin": "http://attacker.example"}
    assert raj.post(f"/sheets/{sheet_id}/submit", headers=from_elsewhere).status_code == 403
