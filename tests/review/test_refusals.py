"""What is forged, sent once more, or somebody else's is refused and stands in the trail: who, where, and why."""

import pytest
from reviewing import PASSWORD, Server, post
from sqlalchemy import select
from studying import Study, new_key, write_slides

from parfocal.review.accounts.roles import Role
from parfocal.review.database.tables import TrailEntry
from parfocal.review.settings import ServeSettings
from parfocal.review.web import refusals

POLYGON = {"type": "Polygon", "coordinates": [[[0, 0], [9, 0], [9, 9], [0, 0]]]}
CONTENT = "what was typed into the form"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Running."""
    folder = tmp_path_factory.mktemp("slides of studies")
    write_slides(folder)
    return Study(Server(ServeSettings(str(folder), f"sqlite:///{folder / 'review.sqlite'}")))


@pytest.fixture
def sheet(study):
    """Id of a reading of mia that is under way."""
    return study.begin("mia")


@pytest.fixture
def written(study):
    """`written()`: (who, method, path, why) of each refusal since this was last asked."""
    tokens = [reader.headers["x-form-token"] for reader in study.readers.values()]
    seen = 0

    def since():
        nonlocal seen
        query = select(TrailEntry).where(TrailEntry.action == "refused").order_by(TrailEntry.id)
        with study.server.services.database.reading() as session:
            entries = list(session.scalars(query))
        new, seen = entries[seen:], len(entries)
        for entry in new:
            told = f"{entry.subject} {entry.detail}"
            for secret in (CONTENT, PASSWORD, *tokens):
                assert secret not in told
        return [(entry.who, entry.detail["method"], entry.subject, entry.detail["why"]) for entry in new]

    since()
    return since


def test_forged_forms(study, written, sheet):
    raj, mia = study.readers["raj"], study.readers["mia"]
    path = f"/api/sheets/{sheet}/entries"
    body = {"key": new_key(), "entry": {"what": "answered", "item": "comment", "words": CONTENT}}
    own = mia.headers.pop("x-form-token")
    for headers, why in (
        ({}, "without a form token"),
        ({"x-form-token": "0" * 64}, "the form token is not this browser's"),
        ({"x-form-token": raj.headers["x-form-token"]}, "the form token is not this browser's"),
        ({"x-form-token": own, "origin": "http://attacker.example"}, "sent by another site's page"),
    ):
        assert mia.post(path, json=body, headers=headers).status_code == 403
        assert written() == [("mia", "POST", path, why)]
    assert study.server.browser().post(path, json=body).status_code == 403
    assert written() == [("", "POST", path, "without a form token")]
    mia.headers["x-form-token"] = own
    assert mia.get(f"/api/sheets/{sheet}").json()["answers"] == {}


def test_a_form_that_is_sent_once_more(study, written, sheet):
    mia, path = study.readers["mia"], f"/sheets/{sheet}/submit"
    study.read("mia", sheet)
    assert mia.post(path).status_code == 422
    assert written() == [("mia", "POST", path, "sent once more after it was submitted")]
    assert post(mia, "/studies", "/sign-out").status_code == 303
    before = mia.headers.pop("x-form-token")
    post(mia, "/sign-in", "/sign-in", name="mia", password=PASSWORD)
    assert mia.post(f"{study.path}/next", data={"form_token": before}).status_code == 403
    assert written() == [("mia", "POST", f"{study.path}/next", "the form token is not this browser's")]
    mia.headers["x-form-token"] = mia.get("/api/session").json()["form_token"]


def test_a_role_that_somebody_does_not_have(study, written):
    raj = study.readers["raj"]
    for method, path, right in (
        ("POST", "/accounts", "administer"),
        ("POST", "/accounts/mia/disable", "administer"),
        ("GET", "/trail", "administer"),
        ("POST", f"{study.path}/close", "lead"),
        ("GET", f"{study.path}/agreement", "lead"),
        ("GET", "/labelling", "operate"),
    ):
        assert raj.request(method, path, data={"name": CONTENT, "role": "admin"}).status_code == 403
        assert written() == [("raj", method, path, f"needs the right to {right}")]


def test_a_sheet_study_report_slide_or_drawing_of_somebody_else(study, written, sheet):
    raj, eve = study.readers["raj"], study.server.signed_in("eve")
    slide = study.lead.get("/api/slides").json()[0]["id"]
    drawn = study.lead.post(f"/api/slides/{slide}/annotations", json={"geometry": POLYGON, "label": CONTENT})
    page = f"/slides/{slide}/report"
    begun = post(study.lead, page, page, form="free", fields="0").headers["location"]
    report = study.lead.post(f"{begun}/submit").headers["location"]
    for browser, who, method, path, what in (
        (raj, "raj", "GET", f"/sheets/{sheet}", "sheet of somebody else"),
        (raj, "raj", "GET", f"/sheets/{sheet}/frames/0.jpg", "sheet of somebody else"),
        (raj, "raj", "POST", f"/sheets/{sheet}/submit", "sheet of somebody else"),
        (eve, "eve", "POST", f"{study.path}/next", "study of somebody else"),
        (raj, "raj", "GET", f"{report}/1.pdf", "report of somebody else"),
        (eve, "eve", "DELETE", f"/api/annotations/{drawn.json()['id']}", "annotation of somebody else"),
        (raj, "raj", "GET", f"/slides/{slide}", "slide outside a running study of theirs"),
    ):
        assert browser.request(method, path).status_code == 404, path
        assert written() == [(who, method, path, what)]
    assert raj.get("/reports/" + "0" * 12).status_code == 404
    assert written() == []  # nothing of anybody


def test_nobody_floods_the_trail(study, written, monkeypatch):
    monkeypatch.setattr(refusals, "_MOST", 3)
    noisy = study.server.signed_in("noisy")
    for _ in range(5):
        assert noisy.get("/trail").status_code == 403
    assert len(written()) == 3
    root = study.server.browser()
    post(root, "/sign-in", "/sign-in", name="root", password=PASSWORD)
    assert "not written down for ten minutes" in root.get("/trail").text
    study.server.signed_in("oskar", Role.OPERATOR).get("/trail")
    assert len(written()) == 1
