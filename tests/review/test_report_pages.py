"""Reports on slides: counted on the image, signed, amended, never overwritten."""

import io
import json

import pytest
from pypdf import PdfReader
from reviewing import HEIGHT, PIXEL_UM, SECRET_NAME, WIDTH, post
from sqlalchemy import select, text
from studying import new_key

from parfocal.review.accounts.roles import Role
from parfocal.review.database.tables import ReportRow, SheetRow
from parfocal.review.report import check_history, report_from_json
from parfocal.review.sheets import keeping


@pytest.fixture
def raj(server):
    server.add("root", Role.ADMIN)
    return server.signed_in("raj")


def begin(browser, slide_id, **fields):
    page = f"/slides/{slide_id}/report"
    answer = post(browser, page, page, **{"form": "gram", "fields": "3", **fields})
    assert answer.status_code == 303, answer.text
    return answer.headers["location"].rpartition("/")[2]


def enter(browser, sheet_id, **entry):
    answer = browser.post(f"/api/sheets/{sheet_id}/entries", json={"key": new_key(), "entry": entry})
    assert answer.status_code == 200, answer.text
    return answer.json()


def sign(browser, sheet_id):
    answer = browser.post(f"/sheets/{sheet_id}/submit")
    assert answer.status_code == 303, answer.text
    return answer.headers["location"].rpartition("/")[2]


@pytest.fixture
def number(raj, slide_id):
    """Of a signed report: two fields looked at, 5 bacilli marked on one and 7 typed on the other."""
    sheet_id = begin(raj, slide_id)
    for frame in (0, 1):
        enter(raj, sheet_id, what="looked", frame=frame)
    for place in range(5):
        enter(raj, sheet_id, what="mark", item="gnb", frame=0, x=place / 10, y=0.5)
    enter(raj, sheet_id, what="typed", item="gnb", frame=1, count=7)
    enter(raj, sheet_id, what="answered", item="comment", words="Thick in places.")
    return sign(raj, sheet_id)


def test_marks_and_typed_counts_are_graded_for_the_fields_that_were_looked_at(raj, number):
    report = report_from_json(raj.get(f"/reports/{number}/1.json").json())
    assert (report.fields, report.counts["gnb"], report.counts["yeast"]) == (2, 12, 0)
    assert report.field_area_mm2 == pytest.approx(HEIGHT * WIDTH * (PIXEL_UM / 1000) ** 2)
    assert report.is_intact
    (bacilli,) = (one for one in report.findings if one.key == "gnb")
    page = raj.get(f"/reports/{number}").text
    assert f"<strong>{bacilli.grade}</strong> {bacilli.grade_title}" in page
    assert "Thick in places." in page
    assert "Means are for an oil-immersion field" in page
    words = PdfReader(io.BytesIO(raj.get(f"/reports/{number}/1.pdf").content)).pages[0].extract_text()
    assert "Gram-negative bacilli" in words
    assert "Signed by raj" in words


def test_a_grade_is_told_while_counting(raj, slide_id):
    sheet_id = begin(raj, slide_id)
    enter(raj, sheet_id, what="looked", frame=0)
    assert enter(raj, sheet_id, what="typed", item="gnb", frame=0, count=500)["grades"] == {"gnb": "4+ Many"}
    assert enter(raj, sheet_id, what="typed", item="gnb", frame=0, count=0)["grades"] == {}


def test_an_amendment_is_a_new_version_that_begins_with_what_was_entered(raj, number, server):
    before = raj.get(f"/reports/{number}/1.json").content
    page = f"/reports/{number}"
    answer = post(raj, page, f"{page}/amend", reason="One was precipitate")
    sheet_id = answer.headers["location"].rpartition("/")[2]
    told = raj.get(f"/api/sheets/{sheet_id}").json()
    assert len(told["marks"]) == 5
    assert post(raj, page, f"{page}/amend", reason="at once again").status_code == 422
    enter(raj, sheet_id, what="unmark", mark=told["marks"][0]["key"])
    assert sign(raj, sheet_id) == number
    versions = [report_from_json(raj.get(f"/reports/{number}/{v}.json").json()) for v in (1, 2)]
    assert [one.counts["gnb"] for one in check_history(versions)] == [12, 11]
    assert versions[1].reason == "One was precipitate"
    assert raj.get(f"/reports/{number}/1.json").content == before
    assert raj.get(f"/reports/{number}/3.json").status_code == 404
    third = post(raj, page, f"{page}/amend", reason="again").headers["location"].rpartition("/")[2]
    assert len(raj.get(f"/api/sheets/{third}").json()["marks"]) == 4
    sign(raj, third)
    with server.services.database.reading() as session:
        assert list(session.scalars(select(ReportRow.version).order_by(ReportRow.version))) == [1, 2, 3]


def test_only_who_signed_a_report_or_an_admin_amends_it(raj, number, server):
    page = f"/reports/{number}"
    lena, root = server.signed_in("lena", Role.LEAD), server.signed_in("boss", Role.ADMIN)
    assert "Begin the next version" not in lena.get(page).text
    assert lena.post(f"{page}/amend", data={"reason": "mine"}).status_code == 403
    sheet_id = post(root, page, f"{page}/amend", reason="of the office").headers["location"].rpartition("/")[2]
    assert sign(root, sheet_id) == number
    assert post(raj, page, f"{page}/amend", reason="again").status_code == 303


def test_a_draft_is_discarded_and_stands_in_the_way_of_nobody(raj, number, server, slide_id):
    page, root = f"/reports/{number}", server.signed_in("boss", Role.ADMIN)
    first = post(raj, page, f"{page}/amend", reason="begun").headers["location"].rpartition("/")[2]
    assert server.signed_in("mia").post(f"/sheets/{first}/discard").status_code == 404
    assert "Discard the draft" in root.get(page).text
    assert post(root, page, f"/sheets/{first}/discard").headers["location"] == "/reports"
    assert raj.get(f"/sheets/{first}").status_code == 404
    assert "draft discarded" in root.get("/trail").text
    second = post(raj, page, f"{page}/amend", reason="once more").headers["location"].rpartition("/")[2]
    assert post(raj, page, f"/sheets/{second}/discard").status_code == 303
    draft = begin(raj, slide_id)
    raj.post(f"/sheets/{draft}/pause")
    assert post(raj, f"/sheets/{draft}", f"/sheets/{draft}/discard").status_code == 303
    assert draft not in raj.get("/reports").text
    assert raj.post(f"/sheets/{number}/discard").status_code == 422  # it is signed
    assert raj.get(f"{page}/1.json").status_code == 200


def test_a_report_that_was_changed_in_the_database_is_not_shown_as_signed(raj, number, server):
    with server.services.database.writing() as session:
        if session.get_bind().dialect.name == "postgresql":
            session.execute(text("ALTER TABLE reports DISABLE TRIGGER ALL"))
        else:
            for (name,) in session.execute(
                text("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'reports'")
            ).all():
                session.execute(text(f"DROP TRIGGER {name}"))
        row = session.scalar(select(ReportRow))
        row.content = {**row.content, "slide": "of somebody else"}
    for path in (f"/reports/{number}", f"/reports/{number}/1.pdf", f"/reports/{number}/1.json"):
        answer = raj.get(path)
        assert answer.status_code == 422
        assert "was changed since" in answer.text


def test_an_amendment_needs_a_reason(raj, number):
    answer = post(raj, f"/reports/{number}", f"/reports/{number}/amend", reason=" ")
    assert answer.status_code == 422
    assert "needs a reason" in answer.text


def test_a_report_of_another_reader_is_not_there_and_a_lead_sees_it(raj, number, server):
    mia, lena = server.signed_in("mia"), server.signed_in("lena", Role.LEAD)
    for path in (f"/reports/{number}", f"/reports/{number}/1.pdf", f"/reports/{number}/1.json"):
        assert mia.get(path).status_code == 404
        assert lena.get(path).status_code == 200
    assert mia.post(f"/reports/{number}/amend", data={"reason": "mine"}).status_code == 404
    assert number not in mia.get("/reports").text
    assert number in lena.get("/reports").text


def test_a_report_names_the_slide_by_its_pseudonym(raj, number, slide_id):
    told = raj.get(f"/reports/{number}").text + raj.get(f"/reports/{number}/1.json").text + raj.get("/reports").text
    assert f"slide-{slide_id}" in told
    assert SECRET_NAME not in told


def test_counts_at_an_eyepiece_need_the_number_and_size_of_the_fields(raj, slide_id):
    sheet_id = begin(raj, slide_id, fields="0")
    answer = raj.post(f"/sheets/{sheet_id}/submit")
    assert answer.status_code == 422
    assert "how large they are, is not told" in answer.text
    enter(raj, sheet_id, what="eyepiece", fields=10, magnification=100, field_number_mm=20)
    enter(raj, sheet_id, what="typed", item="pus", count=30)
    report = raj.get(f"/reports/{sign(raj, sheet_id)}/1.json").json()
    (pus,) = (one for one in report["findings"] if one["key"] == "pus")
    assert (pus["mean"], pus["grade"]) == (3.0, "2+")


@pytest.mark.parametrize("size", [{"magnification": 0.05}, {"field_number_mm": 0.05}])
def test_an_eyepiece_that_no_report_takes_is_refused_and_not_kept(raj, slide_id, size):
    sheet_id = begin(raj, slide_id, fields="0")
    entry = {"what": "eyepiece", "fields": 10, "magnification": 100, "field_number_mm": 20, **size}
    answer = raj.post(f"/api/sheets/{sheet_id}/entries", json={"key": new_key(), "entry": entry})
    assert answer.status_code == 422
    assert raj.get(f"/api/sheets/{sheet_id}").json()["eyepiece"] is None


def test_an_entry_that_cannot_be_shown_again_is_not_kept(raj, slide_id, monkeypatch):
    sheet_id = begin(raj, slide_id)
    with monkeypatch.context() as broken:
        broken.setattr(keeping, "report_of", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            enter(raj, sheet_id, what="looked", frame=0)
    assert raj.get(f"/api/sheets/{sheet_id}").json()["frames_looked_at"] == []


@pytest.mark.parametrize("words", ["non-interpretable", "yeast; Non-Interpretable", "none; yeast", "yeast=7+"])
def test_names_that_would_mean_something_else_in_the_agreement_are_refused(raj, slide_id, words):
    sheet_id = begin(raj, slide_id, form="free")
    entry = {"what": "answered", "item": "findings", "words": words}
    answer = raj.post(f"/api/sheets/{sheet_id}/entries", json={"key": new_key(), "entry": entry})
    assert answer.status_code == 422
    assert raj.get(f"/api/sheets/{sheet_id}").json()["answers"] == {}


def test_other_forms_are_definitions_not_code(raj, slide_id):
    sheet_id = begin(raj, slide_id, form="blood-smear", fields="0")
    for item, count in (("neutrophil", 60), ("lymphocyte", 40)):
        enter(raj, sheet_id, what="typed", item=item, count=count)
    enter(raj, sheet_id, what="answered", item="platelets", words="adequate")
    number = sign(raj, sheet_id)
    assert "60.0" in raj.get(f"/reports/{number}").text


@pytest.mark.parametrize("fields", [{"form": "no-such"}, {"fields": "5"}, {"fields": "-1"}, {"fields": "x"}])
def test_a_report_that_cannot_be_begun_is_refused(raj, slide_id, fields, server):
    page = f"/slides/{slide_id}/report"
    assert post(raj, page, page, **{"form": "gram", "fields": "3", **fields}).status_code == 422
    with server.services.database.reading() as session:
        assert session.scalar(select(SheetRow)) is None


def test_the_json_is_what_the_command_line_reads(raj, number, parfocal, tmp_path):
    (tmp_path / "report.json").write_text(raj.get(f"/reports/{number}/1.json").text, encoding="utf-8")
    code, out, _ = parfocal("study", "report", tmp_path / "report.json", "--json")
    assert (code, json.loads(out)["number"]) == (0, number)
