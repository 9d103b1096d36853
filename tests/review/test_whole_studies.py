"""Studies of whole slides: set up, read in a viewer that tells nothing, and what the lead sees in the end."""

import io
import re

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image
from reviewing import Server, post
from sqlalchemy import select
from studying import READERS, SLIDES, WHOLE, WHOLE_SECRETS, Study, whole_study, write_slides, write_whole_slides

from parfocal.review.database.tables import SheetRow, SlideRow, TrailEntry
from parfocal.review.settings import ServeSettings
from parfocal.review.sheets.whole import Canvas
from parfocal.slide.reader import Slide

CANVAS = (1024, 768)
"""The widest is 900 px, the highest 640: in whole tiles of 256 px."""
IMAGES = ("automated-20x", "automated-40x")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("to read whole")
    write_whole_slides(made)
    return made


@pytest.fixture(scope="module")
def study(folder, tmp_path_factory):
    """Running; nothing in it is changed but the phases of raj's readings."""
    url = f"sqlite:///{tmp_path_factory.mktemp('blinded') / 'review.sqlite'}"
    return whole_study(Server(ServeSettings(str(folder), url)))


def sheets_of(study, reader):
    with study.server.services.database.reading() as session:
        return list(session.scalars(select(SheetRow).where(SheetRow.reader == reader, SheetRow.study_id == study.id)))


def refusals(study):
    with study.server.services.database.reading() as session:
        lines = session.scalars(select(TrailEntry).where(TrailEntry.action == "refused").order_by(TrailEntry.id))
        return [(one.who, one.subject, one.detail["why"]) for one in lines]


def open_all(study, reader):
    """Sheets by (slide, modality), all opened at once, as no reader can."""
    with study.server.services.database.writing() as session:
        for sheet in session.scalars(select(SheetRow).where(SheetRow.reader == reader)):
            sheet.phase = "open"
    return {study.case(sheet.id): sheet for sheet in sheets_of(study, reader)}


@pytest.fixture(scope="module")
def opened(study):
    return {case: sheet for case, sheet in open_all(study, "raj").items() if case[1] != "glass"}


def tiles_of(study, sheet, level, columns, rows):
    get = study.readers["raj"].get
    return [[get(f"/sheets/{sheet.id}/tiles/{level}/{x}_{y}.jpg") for x in range(columns)] for y in range(rows)]


def picture_of(answers):
    rows = [
        np.hstack([cv2.imdecode(np.frombuffer(one.content, np.uint8), cv2.IMREAD_COLOR_RGB) for one in row])
        for row in answers
    ]
    return np.vstack(rows)


# Blinding


def test_every_slide_lies_in_the_middle_of_a_canvas_of_one_size(study, opened, folder):
    assert set(opened) == set(WHOLE)
    for (slide, modality), sheet in opened.items():
        seen = picture_of(tiles_of(study, sheet, 10, 4, 3))
        assert seen.shape == (CANVAS[1], CANVAS[0], 3)
        (file,) = folder.glob(f"doe-{slide[-1]}-{modality}.*[fi]")
        with Slide.open(file) as whole:
            width, height = whole.dimensions
            wanted = whole.read_region((0, 0), 0, (width, height)).astype(int)
        left, top = Canvas(*CANVAS, width, height).corner
        assert np.abs(seen[top : top + height, left : left + width] - wanted).mean() < 3
        assert np.abs(seen[top : top + height, left : left + width][::-1] - wanted).mean() > 6  # so this test can fail
        seen[top : top + height, left : left + width] = 255
        assert (seen >= 250).mean() > 0.99  # white, but where JPEG's blocks reach over the slide's edge


def test_tiles_of_all_modalities_have_one_size_one_kind_of_jpeg_one_set_of_headers_and_no_metadata(study, opened):
    kinds, heads = set(), set()
    for sheet in opened.values():
        for level, columns, rows in ((10, 4, 3), (9, 2, 2), (8, 1, 1), (3, 1, 1)):
            answers = [one for row in tiles_of(study, sheet, level, columns, rows) for one in row]
            for place, answer in enumerate(answers):
                image = Image.open(io.BytesIO(answer.content))
                looks = (image.size, image.mode, str(image.quantization), str(image.layer), str(sorted(image.info)))
                kinds.add((level, place, looks))
                head = answer.content[: answer.content.index(b"\xff\xda")]
                heads.add(head[:20])
                assert b"\xff\xfe" not in head  # a comment
                assert b"Exif" not in head
                assert not image.getexif()
                headers = dict(answer.headers)
                del headers["content-length"]
                heads.add(str(sorted(headers.items())))
                assert not {"etag", "last-modified", "content-disposition", "server-timing", "date"} & set(headers)
                assert headers["cache-control"] == "no-store"
    assert len(kinds) == 12 + 4 + 1 + 1  # one look for each place of a tile, whichever slide it is of
    assert len({looks[2:] for _, _, looks in kinds}) == 1
    assert len(heads) == 2


def test_what_a_program_is_told_of_a_whole_slide_differs_in_the_scale_alone(study, opened):
    told, scales = set(), set()
    for sheet in opened.values():
        answer = study.readers["raj"].get(f"/api/sheets/{sheet.id}").json()
        assert (answer["width"], answer["height"], answer["tile_px"], answer["frames"]) == (*CANVAS, 256, 1)
        scales.add(answer.pop("um_per_px"))
        told.add(str(sorted(answer.items())).replace(sheet.id, "ID"))
    assert len(told) == 1
    assert len(scales) == len(WHOLE)


def test_pages_of_whole_slides_differ_in_the_code_alone_and_nothing_names_a_slide(study, opened):
    with study.server.services.database.reading() as session:
        secrets = [*WHOLE_SECRETS, *session.scalars(select(SlideRow.id))]
    raj, pages = study.readers["raj"], set()
    for sheet in opened.values():
        page = raj.get(f"/sheets/{sheet.id}").text
        pages.add(page.replace(sheet.id, "ID").replace(sheet.code, "CODE"))
        for path in (f"/sheets/{sheet.id}", f"/api/sheets/{sheet.id}", f"/sheets/{sheet.id}/tiles/9/0_0.jpg"):
            answer = raj.get(path)
            told = str(dict(answer.headers)) + answer.content.decode("latin-1")
            assert [secret for secret in secrets if secret in told] == []
    assert len(pages) == 1
    assert raj.get("/api/slides").json() == []


def test_a_slide_that_changed_since_the_start_is_not_shown_its_lead_is_told_and_no_file_is_named(folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    study = whole_study(Server(ServeSettings(str(tmp_path), f"sqlite:///{tmp_path / 'review.sqlite'}")), glass="")
    sheet_id = study.begin("raj")
    for path in tmp_path.glob("doe-*"):
        path.unlink()
        path.write_bytes(b"II*\0damaged")
    answer = study.readers["raj"].get(f"/sheets/{sheet_id}/tiles/9/0_0.jpg")
    assert answer.status_code == 404
    words = "is not what it was when the reading was laid out, and is not shown: tell whoever leads the study"
    assert answer.json() == {"detail": f"this picture {words}"}
    assert study.lead.get(study.path).text.count("the slide has changed since the start") == len(WHOLE)


# Nobody else


def test_tiles_are_there_for_the_reader_while_the_reading_is_open_and_refusals_are_in_the_trail(folder, tmp_path):
    url = f"sqlite:///{tmp_path / 'review.sqlite'}"
    study = whole_study(Server(ServeSettings(str(folder), url)), wash_out_days="14", glass="")
    raj, sheet_id = study.readers["raj"], study.begin("raj")
    path = f"/sheets/{sheet_id}/tiles/8/0_0.jpg"
    assert raj.get(path).status_code == 200
    assert refusals(study) == []
    for place in ("8/1_0", "8/0_1", "11/0_0", "-1/0_0", "10/-1_0", "10/9999999_0", "8/0_0.png", "x/0_0"):
        assert raj.get(f"/sheets/{sheet_id}/tiles/{place}.jpg").status_code in (404, 422)
    assert raj.get(f"/sheets/{sheet_id}/frames/0.jpg").status_code == 404
    assert study.server.browser().get(path).status_code == 401
    assert refusals(study) == []
    assert study.readers["mia"].get(path).status_code == 404
    assert study.lead.get(path).status_code == 404
    slide = study.case(sheet_id)[0]
    others = {sheet.id for sheet in sheets_of(study, "raj")} - {sheet_id}
    (later,) = (one for one in others if study.case(one)[0] == slide)
    before_wash_out = f"/sheets/{later}/tiles/8/0_0.jpg"
    assert raj.get(before_wash_out).status_code == 404
    assert raj.get("/sheets/0123456789ab/tiles/8/0_0.jpg").status_code == 404  # nothing of anybody
    raj.post(f"/sheets/{sheet_id}/pause")
    assert raj.get(path).status_code == 404
    raj.post(f"/sheets/{sheet_id}/continue")
    study.read("raj", sheet_id)
    assert raj.get(path).status_code == 404
    other = study.begin("raj")
    assert study.send("close", broken_off="true").status_code == 303
    assert raj.get(f"/sheets/{other}/tiles/8/0_0.jpg").status_code == 404
    assert refusals(study) == [
        ("mia", path, "sheet of somebody else"),
        ("lena", path, "sheet of somebody else"),
        ("raj", before_wash_out, "picture of a sheet that is waiting"),
        ("raj", path, "picture of a sheet that is paused"),
        ("raj", path, "picture of a sheet that is submitted"),
        ("raj", f"/sheets/{other}/tiles/8/0_0.jpg", "picture of a sheet that is closed"),
    ]


def test_a_slide_that_was_changed_is_not_shown_in_the_place_of_another(study, opened):
    sheet = opened[SLIDES[0], "automated-20x"]
    with study.server.services.database.writing() as session:
        kept = session.get(SheetRow, sheet.id).canvas
        session.get(SheetRow, sheet.id).canvas = {**kept, "slide_width": kept["slide_width"] + 1}
    answer = study.readers["raj"].get(f"/sheets/{sheet.id}/tiles/8/0_0.jpg")
    with study.server.services.database.writing() as session:
        session.get(SheetRow, sheet.id).canvas = kept
    assert answer.status_code == 404
    assert study.readers["raj"].get(f"/sheets/{sheet.id}/tiles/8/0_0.jpg").status_code == 200


# From the design to the agreement


def test_a_study_of_whole_slides_leads_to_the_agreement_and_to_the_places_of_the_marks(folder, database_url):
    study = whole_study(Server(ServeSettings(str(folder), database_url)))
    design = study.row.design
    assert design["fields_per_slide"] is None
    assert "<dd>whole slides</dd>" in study.lead.get(study.path).text
    while sheet_id := study.begin("raj"):
        slide, modality = study.case(sheet_id)
        if (slide, modality) == (SLIDES[0], "automated-20x"):
            missed(study, sheet_id)
        else:
            study.read("raj", sheet_id, gnb=3)
    study.send("close", broken_off="true")
    figures = study.lead.get(f"{study.path}/agreement.json").json()
    raj = figures["readers"]["raj"]
    assert [raj[modality]["concurrences"] for modality in IMAGES] == [1, 2]
    page_path = f"{study.path}/discordances/0"
    page = study.lead.get(page_path).text
    assert "What the reader marked" in page
    shelved, x, y = re.search(r'href="/slides/(\w+)#x=(\d+)&amp;y=(\d+)&amp;scale=1"', page).groups()
    assert study.lead.get(f"/slides/{shelved}").status_code == 200
    width, height = WHOLE[SLIDES[0], "automated-20x"][:2]
    left, top = Canvas(*CANVAS, width, height).corner
    assert (int(x), int(y)) == (512 - left, 384 - top)  # of the slide, not of the canvas
    assert 'value="not-drawn"' not in page
    assert post(study.lead, page_path, page_path, ruling="not-drawn").status_code == 422
    assert post(study.lead, page_path, page_path, ruling="overlooked").status_code == 303


def missed(study, sheet_id):
    """Yeast is marked, and no bacilli; the reading is put aside and gone on with, and not submitted unseen."""
    raj = study.readers["raj"]
    study.enter("raj", sheet_id, what="mark", item="yeast", frame=0, x=0.5, y=0.5)
    answer = study.submit("raj", sheet_id)
    assert answer.status_code == 422
    assert "The slide was not looked at yet" in answer.text
    raj.post(f"/sheets/{sheet_id}/pause")
    assert study.begin("raj") == sheet_id
    assert len(raj.get(f"/api/sheets/{sheet_id}").json()["marks"]) == 1
    study.enter("raj", sheet_id, what="looked", frame=0)
    assert study.submit("raj", sheet_id).status_code == 303


def test_a_grade_is_of_the_whole_area_or_of_the_part_that_the_reader_names(study, opened):
    sheet = opened[SLIDES[0], "automated-20x"]  # 0.35 × 0.25 mm, 2.79 oil-immersion fields of 0.0314 mm²
    area = 0.35 * 0.25
    assert sheet.field_area_mm2 == pytest.approx(area)

    def grade(**entry):
        return study.enter("raj", sheet.id, **entry)["grades"].get("gnb")

    study.enter("raj", sheet.id, what="looked", frame=0)
    assert grade(what="typed", item="gnb", frame=0, count=int(9.5 * area / 0.0314159)) == "2+ Few"
    assert grade(what="typed", item="gnb", frame=0, count=int(11.5 * area / 0.0314159)) == "3+ Moderate"
    assert grade(what="eyepiece", fields=1, magnification=100, field_number_mm=20) == "3+ Moderate"
    assert grade(what="eyepiece", fields=100, magnification=100, field_number_mm=20) == "1+ Rare"
    assert grade(what="everywhere") == "3+ Moderate"
    study.enter("raj", sheet.id, status=422, what="typed", item="gnb", frame=1, count=1)


def test_who_cannot_tell_says_so_of_a_whole_slide_too(study, opened):
    sheet = opened[SLIDES[1], "automated-40x"]
    study.enter("raj", sheet.id, what="interpretable", told=False)
    assert study.readers["raj"].get(f"/api/sheets/{sheet.id}").json()["interpretable"] is False


# Setting up


@pytest.fixture(scope="module")
def fields_folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("fields")
    write_slides(made)
    return made


def test_single_fields_are_no_whole_slide_and_whole_slides_have_no_single_fields(folder, fields_folder, tmp_path):
    study = Study(Server(ServeSettings(str(fields_folder), f"sqlite:///{tmp_path / 'a.sqlite'}")), start=False)
    answer = study.propose(shows="whole")
    assert answer.status_code == 422
    assert f"{SLIDES[0]} in automated-40x is no whole slide" in answer.text
    assert 'value="whole" checked' in answer.text
    page = study.lead.get("/studies/new").text
    assert page.count("<td>no</td>") == 2 * len(SLIDES)
    other = Server(ServeSettings(str(folder), f"sqlite:///{tmp_path / 'b.sqlite'}"))
    whole = whole_study(other)
    answer = whole.propose(show=[one.id for one in other.services.shelf.slides()], reader=list(READERS))
    assert answer.status_code == 422
    assert "has no single fields" in answer.text


def test_a_slide_that_does_not_say_how_large_its_pixels_are_is_refused_at_the_start(folder, tmp_path):
    for path in folder.glob("doe-1-*"):
        if "40x" not in path.name:
            (tmp_path / path.name).symlink_to(path)
    tifffile.imwrite(tmp_path / "doe-2-automated-20x.tif", np.zeros((64, 64, 3), np.uint8), tile=(64, 64))
    server = Server(ServeSettings(str(tmp_path), f"sqlite:///{tmp_path / 'review.sqlite'}"))
    with pytest.raises(AssertionError, match="does not say how large its pixels are"):
        whole_study(server)
