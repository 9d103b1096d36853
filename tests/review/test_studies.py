"""A blinded study from its design to the agreement of its readers."""

import csv
import hashlib
import io
import json
import shutil
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta

import numpy as np
import pytest
from postgres import new_database
from reviewing import Server, post
from sqlalchemy import select, text
from sqlalchemy.exc import DatabaseError
from studying import FIELDS, MODALITIES, READERS, SLIDES, Study, new_key, write_slides

from parfocal.errors import FileError
from parfocal.review import agreement_report
from parfocal.review.accounts.roles import Role
from parfocal.review.accounts.trail import now
from parfocal.review.database.tables import EntryRow, ReportRow, RulingRow, SheetRow, StudyRow, TrailEntry
from parfocal.review.settings import ServeSettings
from parfocal.review.studies import results
from parfocal.review.studies.keeping import sheets_of
from parfocal.review.studies.shown import shown_words
from parfocal.review.web.sheet_api import check_running
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.records import FieldRecord
from parfocal.slide.fields.writer import FieldsWriter


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("to read")
    write_slides(folder)
    return folder


@pytest.fixture
def study_server(served, database_url):
    return Server(ServeSettings(str(served), database_url))


@pytest.fixture
def study(study_server):
    return Study(study_server)


def found(reader, slide, modality):
    """Raj misses the bacilli of the second slide in photographs, and mia finds yeast where glass shows none."""
    counts = {"gpc_clusters": 40, "gnb": 3} if slide == SLIDES[1] else {"gpc_pairs": 2}
    if (reader, slide, modality) == ("raj", SLIDES[1], "manual-100x"):
        counts.pop("gnb")
    if (reader, slide, modality) == ("mia", SLIDES[2], "automated-40x"):
        counts["yeast"] = 1
    return counts


@pytest.fixture(scope="module")
def closed(served, tmp_path_factory):
    """A study that both readers have read and that is unblinded."""
    url = f"sqlite:///{tmp_path_factory.mktemp('closed') / 'review.sqlite'}"
    study = Study(Server(ServeSettings(str(served), url)))
    study.read_all(found)
    study.send("margin", margin="15")
    study.send("margin", margin="10")
    answer = study.send("close")
    assert answer.status_code == 303, answer.text
    return study


@pytest.fixture(scope="module")
def figures(closed):
    return closed.lead.get(f"{closed.path}/agreement.json").json()


def trail_of(study, action):
    with study.server.services.database.reading() as session:
        return list(session.scalars(select(TrailEntry).where(TrailEntry.action == action)))


def test_a_study_leads_from_its_design_to_the_agreement(closed, figures):
    shown = "Readers were shown the attempt of each drawn field that counted at the start, by its SHA-256."
    assert (figures["remarks"][0], figures["changes"]) == (shown, [])
    assert figures["margin"] == 10
    assert figures["readers"]["raj"]["manual-100x"]["concurrences"] == 2
    assert figures["readers"]["raj"]["automated-40x"]["concurrences"] == 3
    mia = figures["readers"]["mia"]["automated-40x"]
    assert (mia["concurrences"], mia["surpassed"], mia["strict"]["concurrences"]) == (3, 1, 2)
    assert figures["between_readers"]["glass"]["concurrences"] == 3
    page = closed.lead.get(f"{closed.path}/agreement").text
    assert "not found in manual-100x: gram-negative bacilli" in page
    assert "10 percentage points" in page
    assert b"<svg" in closed.lead.get(f"{closed.path}/agreement.svg").content
    assert closed.lead.get(f"{closed.path}/agreement.html").text.startswith("<!DOCTYPE html>")


def test_the_readings_are_the_table_that_the_command_line_measures(closed, figures, parfocal, tmp_path):
    (tmp_path / "readings.csv").write_text(closed.lead.get(f"{closed.path}/readings.csv").text, encoding="utf-8")
    code, out, _ = parfocal("study", "agreement", tmp_path / "readings.csv", "--margin", "10", "--json")
    assert code == 0
    measured = json.loads(out)
    elsewhere = {"discordances", "remarks"}  # rulings, wash-out and frames are known to the server alone
    assert {key: figures[key] for key in measured if key not in elsewhere} == {
        key: value for key, value in measured.items() if key not in elsewhere
    }
    assert len(set(figures["remarks"]) ^ set(measured["remarks"])) == 3
    rows = list(csv.DictReader(io.StringIO(closed.lead.get(f"{closed.path}/agreement.csv").text)))
    assert [(row["reader"], row["modality"]) for row in rows] == [
        (name, how) for name in sorted(READERS) for how in MODALITIES
    ]


def test_grades_of_the_counts_are_part_of_the_readings(closed):
    rows = list(csv.DictReader(io.StringIO(closed.lead.get(f"{closed.path}/readings.csv").text)))
    (row,) = (one for one in rows if (one["reader"], one["slide"], one["modality"]) == ("mia", SLIDES[1], "glass"))
    assert row["organisms"] == "gram-negative bacilli=1+; gram-positive cocci=2+"


def test_each_reader_reads_every_slide_in_every_way_and_no_slide_twice_before_all_were_read_once(study):
    for reader in READERS:
        order = []
        while sheet_id := study.begin(reader):
            order.append(study.case(sheet_id))
            study.read(reader, sheet_id)
        assert sorted(order) == sorted((slide, how) for slide in SLIDES for how in ("glass", *MODALITIES))
        assert {slide for slide, _ in order[:3]} == set(SLIDES)


def test_random_fields_are_drawn_of_those_that_are_not_empty(study):
    with study.server.services.database.reading() as session:
        sheets = list(session.scalars(select(SheetRow).where(SheetRow.slide_id.is_not(None))))
    assert {len(sheet.frames) for sheet in sheets} == {FIELDS}
    assert all(set(sheet.frames) <= {0, 1, 2} for sheet in sheets)


# Setting up


def test_nothing_is_drawn_before_the_start_and_nothing_changes_after_it(study_server):
    study = Study(study_server, start=False)
    assert study.row.plan is None
    assert study.send("readers", remove="mia").status_code == 303
    assert "mia" in study.lead.get(study.path).text  # may be added again
    assert study.send("readers", add="mia").status_code == 303
    assert study.send("start").status_code == 303
    fingerprint = study.row.fingerprint
    assert study.send("readers", remove="mia").status_code == 422
    assert study.send("start").status_code == 422
    assert study.row.fingerprint == fingerprint
    assert trail_of(study, "study started")[0].detail["fingerprint"] == fingerprint


def test_somebody_who_sees_what_slides_are_called_cannot_be_a_reader(study_server):
    study = Study(study_server, reader=["lena"])
    assert study.answer.status_code == 422
    assert "lena is study-lead and sees what slides are called" in study.answer.text


IMPOSSIBLE = [
    ({"fields_per_slide": "4"}, "4 fields are to be drawn"),
    ({"name": ""}, "1 to 100 characters"),
    ({"name": "a\x00b"}, "not one line"),
    ({"wash_out_days": "-1"}, "wash-out"),
    ({"margin": "200"}, "margin"),
    ({"reader": []}, "needs readers"),
    ({"reader": ["nobody"]}, "no account"),
    ({"seed": "x"}, "not a number"),
    ({"show": []}, "needs slides"),
    ({"form": "no"}, "no form"),
]


def test_an_impossible_design_is_refused_with_its_reason_and_what_was_typed_stays(study_server):
    study = Study(study_server, start=False)
    for more, told in IMPOSSIBLE:
        answer = study.propose(**{"name": "Pilot <3", **more})
        if answer.status_code == 303:  # what depends on the fields that are there shows at the start
            path = answer.headers["location"]
            answer = post(study.lead, path, f"{path}/start")
        elif "name" not in more:
            assert "Pilot &lt;3" in answer.text
        assert answer.status_code == 422
        assert told in answer.text


def test_two_images_of_one_slide_in_one_modality_are_refused(study_server):
    page_values = {}
    study = Study(study_server, start=False)
    with study.server.services.database.reading():
        for of_slide in study.row.sources.values():
            page_values |= {f"modality-{shelved}": "same" for shelved in of_slide.values()}
    again = study.lead.post(
        "/studies",
        data={
            "form_token": study.lead.headers["x-form-token"],
            "name": "Again",
            "form": "gram",
            "show": [name.partition("-")[2] for name in page_values],
            "reader": list(READERS),
            "fields_per_slide": "2",
            "wash_out_days": "0",
            "repeats": "0",
            **page_values,
            **{name.replace("modality", "slide"): "one" for name in page_values},
        },
    )
    assert again.status_code == 422
    assert "Two slides are said to be one in same" in again.text


def test_a_field_that_cannot_be_shown_is_left_out_and_one_that_can_has_to_be_looked_at(study_server, monkeypatch):
    study = Study(study_server, glass="")
    assert 'class="code"' not in study.lead.get(f"{study.path}/codes").text  # there is no glass
    sheet_id = study.begin("raj")
    damaged, frame_of = study.sheet(sheet_id).frames[0], study_server.services.frames.frame

    def frame(slide_id, field, *more):
        if field == damaged:
            raise FileError("frame: damaged")
        return frame_of(slide_id, field, *more)

    monkeypatch.setattr(study_server.services.frames, "frame", frame)
    study.enter("raj", sheet_id, what="unshown", frame=1, status=422)
    study.enter("raj", sheet_id, what="looked", frame=1)
    assert "1 of 2 fields were not looked at" in study.submit("raj", sheet_id).text
    study.enter("raj", sheet_id, what="unshown", frame=0)
    assert study.submit("raj", sheet_id).status_code == 303
    with study_server.services.database.reading() as session:
        (content,) = session.scalars(select(ReportRow.content).where(ReportRow.sheet_id == sheet_id))
    assert content["fields"] == 1


def test_a_slide_that_is_moved_while_it_is_read_is_shown_on_and_none_of_its_fields_is_left_out(study_server, served):
    study = Study(study_server, glass="")
    sheet_id = study.begin("raj")
    source = study_server.services.shelf.slide(study.sheet(sheet_id).slide_id).source
    moved = source.rename(source.with_name("doe-elsewhere"))
    try:
        assert study.readers["raj"].get(f"/sheets/{sheet_id}/frames/0.jpg").status_code == 200
        study.enter("raj", sheet_id, what="unshown", frame=0, status=422)
    finally:
        moved.rename(source)


def test_a_study_starts_on_a_server_that_has_not_looked_for_slides_yet_while_one_is_new(tmp_path):
    """What is new is written down: inside the transaction of the start that would wait for itself."""
    write_slides(tmp_path)
    study = Study(Server(ServeSettings(str(tmp_path), f"sqlite:///{tmp_path / 'review.sqlite'}")), start=False)
    shutil.copytree(tmp_path / "doe-0-scan", tmp_path / "new-scan")
    lead = study.server.restarted().browser(**{"x-form-token": study.lead.headers["x-form-token"]})
    lead.cookies.update(study.lead.cookies)
    assert lead.post(f"{study.path}/start").status_code == 303
    assert study.row.state == "running"


def take_again(folder, field):
    """On the command line, and the new frame is black."""
    with FieldsWriter.reopen(FieldsFolder(folder)) as writer:
        black = np.zeros((90, 120, 3), np.uint8)
        writer.put(FieldRecord(field, field // 2, field % 2, field * 17.0, 0.0, 0.0, "focused", 2, attempt=2), black)


def test_readers_are_shown_the_attempts_of_the_start_or_none(tmp_path, monkeypatch):
    """A field is taken again: a study that runs shows the old frame, all else the new. Then its file changes."""
    write_slides(tmp_path)
    server = Server(ServeSettings(str(tmp_path), f"sqlite:///{tmp_path / 'review.sqlite'}"))
    study, sheet = Study(server, glass=""), None
    while sheet is None or study.case(sheet.id) != (SLIDES[0], "automated-40x"):
        if sheet is not None:
            study.read("raj", sheet.id)
        sheet = study.sheet(study.begin("raj"))
    raj, field, folder = study.readers["raj"], sheet.frames[0], tmp_path / "doe-0-scan"

    def as_raj(server):
        browser = server.browser()
        browser.cookies.update(raj.cookies)
        return browser

    path = f"/sheets/{sheet.id}/frames/0.jpg"
    before, latest = raj.get(path).content, server.services.frames.frame(sheet.slide_id, field)
    assert before == latest
    assert "Not as at the start" not in study.lead.get(study.path).text
    take_again(folder, field)
    for one in (server, server.restarted()):
        assert as_raj(one).get(path).content == before
        assert one.services.frames.frame(sheet.slide_id, field) != before
    changed = f"{SLIDES[0]} in automated-40x: 1 of 2 drawn fields taken again since the start"
    assert changed in study.lead.get(study.path).text
    with monkeypatch.context() as nothing_read:
        nothing_read.delattr(server.services.frames.__class__, "folder")
        assert changed in study.lead.get(study.path).text  # remembered while the records are the same
    (frame,) = (one.file for one in FieldsFolder(folder).attempts if (one.index, one.attempt) == (field, 1))
    (folder / frame).write_bytes((folder / FieldsFolder(folder).records[-1].file).read_bytes())
    answer = as_raj(server.restarted()).get(path)
    assert answer.status_code == 404
    assert "this picture is not what it was when the reading was laid out" in answer.text
    study.send("close", broken_off="true")
    shutil.rmtree(tmp_path / "doe-1-scan")
    page = study.lead.get(study.path).text
    assert changed in page
    assert "cannot be read" not in page  # what happened later is of no reading


def test_frames_without_a_sha256_are_not_said_to_be_known_by_it(closed):
    with closed.server.services.database.reading() as session:
        sheets = sheets_of(session, closed.row)
        session.expunge_all()
        for sheet in sheets:
            sheet.attempts = [[number, ""] for number, _ in sheet.attempts or ()] or None
        (words,) = shown_words(session, sheets)
    assert "by its SHA-256 where the scan, of an older version, has one" in words


def test_codes_for_the_glass_are_printed_and_are_what_readers_are_told(study):
    page = study.lead.get(f"{study.path}/codes").text
    with study.server.services.database.reading() as session:
        glass = list(session.scalars(select(SheetRow).where(SheetRow.label != "")))
    assert {sheet.reader for sheet in glass} == set(READERS)
    assert len({sheet.label for sheet in glass}) == len(SLIDES)
    for sheet in glass:
        assert sheet.label in page
    while sheet_id := study.begin("raj"):
        if study.case(sheet_id)[1] == "glass":
            assert study.sheet(sheet_id).label in study.readers["raj"].get(f"/sheets/{sheet_id}").text
            break
        study.read("raj", sheet_id)


# Reading


def test_a_wash_out_has_to_pass_before_the_same_slide_is_read_again(study_server):
    study = Study(study_server, wash_out_days=14)
    for _ in SLIDES:
        study.read("raj", study.begin("raj"))
    assert study.begin("raj") == ""
    page = study.readers["raj"].get("/studies").text
    assert f"can begin on {(now() + timedelta(days=15)).date()}" in page
    assert "Begin the next reading" not in page
    with study.server.services.database.writing() as session:
        for sheet in session.scalars(select(SheetRow).where(SheetRow.submitted_at.is_not(None))):
            sheet.submitted_at -= timedelta(days=14)
    assert study.begin("raj") != ""


def test_a_wash_out_holds_over_studies(study_server):
    """Of the same reader and slide, in whichever study."""
    pilot = Study(study_server)
    pilot.read("raj", pilot.begin("raj"))
    made = pilot.propose(wash_out_days="14")
    path = made.headers["location"]
    answer = post(pilot.lead, path, f"{path}/start")
    assert answer.status_code == 422
    assert "in the study Pilot" in answer.text
    pilot.send("close", broken_off="true")
    answer = post(pilot.lead, path, f"{path}/start")
    assert answer.status_code == 422
    assert "the wash-out is 14 days" in answer.text
    with study_server.services.database.writing() as session:
        for sheet in session.scalars(select(SheetRow).where(SheetRow.submitted_at.is_not(None))):
            sheet.submitted_at -= timedelta(days=14)
    assert post(pilot.lead, path, f"{path}/start").status_code == 303


def test_a_reading_is_paused_continued_and_the_time_counts_only_while_it_is_open(study):
    raj, sheet_id = study.readers["raj"], study.begin("raj")
    assert raj.post(f"/sheets/{sheet_id}/pause").status_code == 303
    page = raj.get(f"/sheets/{sheet_id}").text
    assert "This is paused" in page
    assert raj.get(f"/sheets/{sheet_id}/frames/0.jpg").status_code == 404
    study.enter("raj", sheet_id, status=422, what="interpretable", told=False)
    with study.server.services.database.writing() as session:
        session.get(SheetRow, sheet_id).since -= timedelta(hours=1)
    assert study.begin("raj") == sheet_id  # goes on with it
    assert study.sheet(sheet_id).seconds < 60
    assert raj.post(f"/sheets/{sheet_id}/continue").status_code == 422


def test_who_cannot_tell_need_not_look_at_every_field(study):
    sheet_id = study.begin("raj")
    study.enter("raj", sheet_id, what="interpretable", told=False)
    assert study.submit("raj", sheet_id).status_code == 303
    study.send("close", broken_off="true")
    row = next(csv.DictReader(io.StringIO(study.lead.get(f"{study.path}/readings.csv").text)))
    assert row["organisms"] == "non-interpretable"


def test_every_field_has_to_be_looked_at_before_a_reading_is_submitted(study):
    while study.case(sheet_id := study.begin("raj"))[1] == "glass":
        study.read("raj", sheet_id)
    answer = study.submit("raj", sheet_id)
    assert answer.status_code == 422
    assert "2 of 2 fields were not looked at yet" in answer.text


def test_slides_are_read_twice_where_the_design_says_so(study_server):
    study = Study(study_server, repeats="1")
    again = [one["case"]["slide"] for one in study.row.plan["assignments"] if one["repeat"] == 2]
    assert len(again) == len(READERS) * 3
    with study.server.services.database.reading() as session:
        assert len(list(session.scalars(select(SheetRow)))) == len(READERS) * (len(SLIDES) + 1) * 3
    page = study.lead.get(f"{study.path}/codes").text
    labels = {(one["case"]["label"], one["repeat"]) for one in study.row.plan["assignments"] if one["case"]["label"]}
    assert len(labels) == len(SLIDES) + 1
    assert page.count(", for the second time") == 1
    assert all(label in page for label, _ in labels)
    plan = json.loads(json.dumps(study.row.plan))  # as of an older version: both under one code
    on_glass = [one for one in plan["assignments"] if one["case"]["label"]]
    first = {one["case"]["slide"]: one["case"]["label"] for one in on_glass if one["repeat"] == 1}
    for one in on_glass:
        one["case"]["label"] = first[one["case"]["slide"]]
    with study.server.services.database.writing() as session:
        session.get(StudyRow, study.id).plan = plan
    page = study.lead.get(f"{study.path}/codes").text
    assert page.count('class="code"') == len(SLIDES)
    assert "for the second time" not in page


# What was entered is kept


def test_every_entry_is_kept_at_once_and_outlives_the_server(study):
    sheet_id = study.begin("raj")
    while study.case(sheet_id)[1] == "glass":
        study.read("raj", sheet_id)
        sheet_id = study.begin("raj")
    kept = new_key()
    study.enter("raj", sheet_id, kept, what="mark", item="gnb", frame=1, x=0.25, y=0.5)
    study.enter("raj", sheet_id, what="typed", item="gnb", frame=0, count=7)
    study.enter("raj", sheet_id, what="answered", item="comment", words="thin")
    again = study.server.restarted()
    browser = again.browser()
    told = browser.get(f"/api/sheets/{sheet_id}", cookies=dict(study.readers["raj"].cookies)).json()
    mark = {"what": "mark", "item": "gnb", "frame": 1, "x": 0.25, "y": 0.5}
    assert told["marks"] == [{"key": kept, "mark": mark}]
    assert told["typed"] == [{"item": "gnb", "frame": 0, "count": 7}]
    assert told["answers"] == {"comment": "thin"}


def test_an_entry_that_is_sent_again_counts_once_and_a_mark_can_be_taken_back(study):
    while study.case(sheet_id := study.begin("raj"))[1] == "glass":
        study.read("raj", sheet_id)
    key = new_key()
    for _ in range(3):
        study.enter("raj", sheet_id, key, what="mark", item="gnb", frame=0, x=0.1, y=0.1)
    study.enter("raj", sheet_id, key, status=422, what="mark", item="pus", frame=0, x=0.1, y=0.1)
    assert len(study.readers["raj"].get(f"/api/sheets/{sheet_id}").json()["marks"]) == 1
    study.enter("raj", sheet_id, what="unmark", mark=key)
    assert study.readers["raj"].get(f"/api/sheets/{sheet_id}").json()["marks"] == []


def test_two_readers_who_save_at_once_lose_nothing(study):
    sheets = {reader: study.begin(reader) for reader in READERS}
    keys = {reader: [new_key() for _ in range(10)] for reader in READERS}

    def save(reader):
        for key in keys[reader]:
            study.enter(reader, sheets[reader], key, what="answered", item="comment", words=key)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(save, READERS))
    with study.server.services.database.reading() as session:
        for reader in READERS:
            query = select(EntryRow.key).where(EntryRow.sheet_id == sheets[reader]).order_by(EntryRow.id)
            assert list(session.scalars(query)) == keys[reader]


@pytest.mark.parametrize("table", ["entries", "reports", "rulings"])
def test_the_database_refuses_to_change_what_was_entered_signed_or_ruled(closed, table):
    page = f"{closed.path}/discordances/0"
    assert post(closed.lead, page, page, ruling="undecided", field="", note="").status_code == 303
    database = closed.server.services.database
    for change in (f"DELETE FROM {table}", f"UPDATE {table} SET {'signed_at' if table == 'reports' else 'at'} = NULL"):
        with pytest.raises(DatabaseError, match="never changed"), database.writing() as session:
            session.execute(text(change))


MISFITS = (
    {"what": "mark", "item": "gnb", "frame": 2, "x": 0.1, "y": 0.1},
    {"what": "mark", "item": "gnb", "frame": 0, "x": 1.1, "y": 0.1},
    {"what": "mark", "item": "comment", "frame": 0, "x": 0.1, "y": 0.1},
    {"what": "mark", "item": "nothing", "frame": 0, "x": 0.1, "y": 0.1},
    {"what": "typed", "item": "gnb", "count": 1},
    {"what": "typed", "item": "gnb", "frame": 0, "count": -1},
    {"what": "typed", "item": "gnb", "frame": 0, "count": 10**9},
    {"what": "answered", "item": "gnb", "words": "many"},
    {"what": "answered", "item": "comment", "words": "x" * 3000},
    {"what": "answered", "item": "comment", "words": "\x00"},
    {"what": "looked", "frame": -1},
    {"what": "eyepiece", "fields": 10, "magnification": 100, "field_number_mm": 20},
    {"what": "grade"},
)


def test_an_entry_that_does_not_fit_the_sheet_is_refused(study):
    while study.case(sheet_id := study.begin("raj"))[1] == "glass":
        study.read("raj", sheet_id)
    for entry in MISFITS:
        study.enter("raj", sheet_id, status=422, **entry)
    assert study.readers["raj"].get(f"/api/sheets/{sheet_id}").json()["answers"] == {}


def test_what_is_submitted_is_final(study):
    sheet_id = study.begin("raj")
    study.read("raj", sheet_id, gnb=1)
    study.enter("raj", sheet_id, status=422, what="interpretable", told=False)
    assert study.submit("raj", sheet_id).status_code == 422
    for what in ("pause", "continue"):
        assert study.readers["raj"].post(f"/sheets/{sheet_id}/{what}").status_code == 422


# Unblinding


def test_findings_stay_hidden_until_the_study_is_closed(study):
    study.read("raj", study.begin("raj"), gnb=3)
    for kind in ("agreement", "agreement.json", "agreement.svg", "readings.csv", "discordances/0"):
        assert study.lead.get(f"{study.path}/{kind}").status_code == 422
    assert "bacilli" not in study.lead.get(study.path).text
    answer = study.send("close")
    assert answer.status_code == 422
    assert "Readings are left" in answer.text
    assert study.send("close", broken_off="true").status_code == 303
    assert trail_of(study, "study closed")[0].detail["complete"] is False


def test_a_study_that_was_broken_off_says_what_is_left_out_here_and_on_the_command_line(study, parfocal, tmp_path):
    read = set()
    while not ((alone := {one for one in read if (one[0], "glass") not in read}) and len(read) > len(alone) + 1):
        sheet_id = study.begin("raj")
        read.add(study.case(sheet_id))
        study.read("raj", sheet_id)
    study.send("close", broken_off="true")
    told = study.lead.get(f"{study.path}/agreement.json").json()["remarks"]
    left_out = f"{len(alone)} of {len(read)} readings have no glass reading by the same reader: they are left out."
    planned = len(SLIDES) * (len(MODALITIES) + 1) * len(READERS)
    assert told[0] == f"The study was broken off: {len(read)} of {planned} readings were made."
    assert told[2] == left_out
    (tmp_path / "readings.csv").write_text(study.lead.get(f"{study.path}/readings.csv").text, encoding="utf-8")
    assert parfocal("study", "agreement", tmp_path / "readings.csv")[0] == 2
    code, out, _ = parfocal("study", "agreement", tmp_path / "readings.csv", "--leave-out-unreferenced", "--json")
    assert (code, json.loads(out)["remarks"][0]) == (0, left_out)


def test_the_margin_is_set_before_unblinding_and_every_change_of_it_is_in_the_trail(closed):
    assert post(closed.lead, "/studies/new", f"{closed.path}/margin", margin="30").status_code == 422
    assert closed.row.margin_percent == 10
    assert [(one.detail["before"], one.detail["margin_percent"]) for one in trail_of(closed, "study margin")] == [
        (None, 15),
        (15, 10),
    ]


def test_the_agreement_tells_which_wash_out_was_kept(figures):
    assert any("the server kept 0 days" in remark for remark in figures["remarks"])


def test_the_figures_of_a_closed_study_are_worked_out_once(closed, monkeypatch):
    paths = ("agreement", "agreement.json", "agreement.csv", "agreement.svg", "discordances/0")
    for path in paths:
        closed.lead.get(f"{closed.path}/{path}")

    def again(*_, **__):
        raise AssertionError("worked out once more")

    monkeypatch.setattr(results, "measure_agreement", again)
    monkeypatch.setattr(agreement_report, "bootstrap_interval", again)
    for path in paths:
        assert closed.lead.get(f"{closed.path}/{path}").status_code == 200


def test_the_designs_digest_can_be_checked_by_its_lead_alone(closed):
    design = closed.lead.get(f"{closed.path}/design.json")
    assert hashlib.sha256(design.content).hexdigest() == closed.row.fingerprint
    assert f"{closed.path}/design.json" in closed.lead.get(closed.path).text
    assert closed.readers["raj"].get(f"{closed.path}/design.json").status_code == 403


def test_without_glass_no_agreement_is_offered(study_server):
    study = Study(study_server, glass="")
    study.send("close", broken_off="true")
    page = study.lead.get(study.path).text
    assert "readings.csv" in page
    assert f"{study.path}/agreement" not in page


def test_the_form_of_a_study_takes_more_slides_than_a_thousand_fields_hold(study):
    more = {f"modality-{number:012x}": "automated" for number in range(1500)}
    assert study.propose(**more).status_code == 303


def test_a_reading_that_is_submitted_is_not_shown_again(study):
    sheet_id = study.begin("raj")
    study.read("raj", sheet_id)
    assert study.readers["raj"].get(f"/api/sheets/{sheet_id}").status_code == 404


def test_a_closed_study_is_read_no_more(study):
    sheet_id = study.begin("raj")
    study.send("close", broken_off="true")
    study.enter("raj", sheet_id, status=422, what="interpretable", told=False)
    assert study.submit("raj", sheet_id).status_code == 422
    assert study.readers["raj"].post(f"{study.path}/next").status_code == 422
    assert study.readers["raj"].get(f"/sheets/{sheet_id}/frames/0.jpg").status_code in (404, 422)


def test_a_discordance_shows_the_scanned_fields_that_were_not_drawn_and_keeps_what_was_ruled(closed):
    study = closed
    figures = study.lead.get(f"{study.path}/agreement.json").json()
    number = next(at for at, one in enumerate(figures["discordances"]) if one["missed"])
    page_path = f"{study.path}/discordances/{number}"
    page = study.lead.get(page_path).text
    with study.server.services.database.reading() as session:
        query = select(SheetRow).where(SheetRow.reader == "raj", SheetRow.study_id == study.id)
        sheet = next(one for one in session.scalars(query) if study.case(one.id) == (SLIDES[1], "manual-100x"))
    (left,) = {0, 1, 2} - set(sheet.frames)
    shown, others = page.index("Fields that the reader was shown"), page.index("not drawn")
    assert others < page.index(f"/fields/{left}.jpg?small=true") < shown
    for size in ("", "?small=true"):
        field = study.lead.get(f"{study.path}/sheets/{sheet.id}/fields/{left}.jpg{size}")
        assert field.headers["content-type"] == "image/jpeg"
    for ruling in ("undecided", "not-drawn"):
        post(study.lead, page_path, page_path, ruling=ruling, field=str(left), note="beyond doubt")
    after = study.lead.get(f"{study.path}/agreement.json").json()["discordances"][number]
    assert (after["ruling"], after["field"], after["note"]) == ("not-drawn", left, "beyond doubt")
    assert "occurs in a scanned field that was not drawn" in study.lead.get(f"{study.path}/agreement").text
    with study.server.services.database.reading() as session:
        query = select(RulingRow.ruling).where(RulingRow.note == "beyond doubt")
        assert list(session.scalars(query)) == ["undecided", "not-drawn"]
    assert post(study.lead, page_path, page_path, ruling="guilty", field="", note="").status_code == 422


@pytest.mark.parametrize("role", [Role.READER, Role.OPERATOR])
def test_only_a_study_lead_sets_up_watches_and_unblinds(study, role):
    browser = study.server.signed_in("eve", role)
    for page in (
        "/studies/new",
        study.path,
        f"{study.path}/codes",
        f"{study.path}/agreement",
        f"{study.path}/readings.csv",
    ):
        assert browser.get(page).status_code == 403
    for form in ("readers", "margin", "start", "close", "discordances/0"):
        answer = browser.post(f"{study.path}/{form}", data={"margin": "1", "ruling": "undecided"})
        assert answer.status_code == 403
    assert study.row.state == "running"
    assert len(trail_of(study, "refused")) >= 5


@pytest.mark.slow
def test_a_study_is_not_closed_while_somebody_submits(served, request):
    """On PostgreSQL, which lets two write at once: who submits keeps the study from being closed until it is done."""
    pytest.importorskip("psycopg", reason="needs psycopg (the postgres extra)")
    study = Study(Server(ServeSettings(str(served), new_database(request.getfixturevalue("postgres")))))
    sheet_id = study.begin("raj")
    with ThreadPoolExecutor() as pool:
        with study.server.services.database.writing() as session:
            check_running(session, session.get(SheetRow, sheet_id))
            closing = pool.submit(study.send, "close", broken_off="true")
            assert not wait([closing], timeout=1).done
        assert closing.result(timeout=20).status_code == 303
