"""The report says what was measured, against which limit, and nothing that was not; a machine reads it too."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from parfocal.cli import cli
from parfocal.errors import FileError
from parfocal.slide.assembly import assemble
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.quality import report as quality_report
from parfocal.slide.quality.files import read_csv, read_parquet
from parfocal.slide.quality.report import report_quality
from parfocal.slide.quality.resolution import measure_resolution
from parfocal.slide.quality.system_tests import overall, system_tests
from parfocal.slide.quality.table import write_scores

NAMES = ["colour", "resolution", "focus", "tissue coverage", "stitching error"]


@pytest.fixture(scope="module")
def scan(synthetic_scan):
    scan = synthetic_scan(3, 3, overlap=0.3, stage_error_um=2.0, seed=4)
    write_scores(scan.folder.path, dict.fromkeys(range(9), 0.03))
    return scan


@pytest.fixture(scope="module")
def made(scan):
    return assemble(FieldsFolder(scan.folder.path))


@pytest.fixture(scope="module")
def resolution(made):
    return measure_resolution(made.fields, made.registration)


@pytest.fixture
def judged(made, resolution):
    """The test of a name, after `changes` to the assembly."""

    def one(name, resolution=resolution, **changes):
        return next(test for test in system_tests(replace(made, **changes), resolution) if test.name == name)

    return one


def described(made, change):
    """The assembly's description with each row of its table changed."""
    rows = tuple(replace(row, **change(row)) for row in made.description.fields)
    return replace(made.description, fields=rows)


def test_a_good_scan_passes_all_five(made, resolution):
    tests = system_tests(made, resolution)
    assert [test.name for test in tests] == NAMES
    assert [test.outcome for test in tests] == ["pass"] * 5
    assert overall(tests) == "pass"


def test_steps_across_seams_fail_the_colour(made, judged):
    bright = replace(made.light, steps=made.light.steps + 2.5)
    test = judged("colour", light=bright)
    assert test.outcome == "fail"
    assert test.value == pytest.approx(2.5, abs=1)


def test_a_blurred_picture_fails_the_resolution(judged, resolution):
    blurred = replace(resolution, finest_um=2.0)
    assert judged("resolution", resolution=blurred).outcome == "fail"
    unknown = replace(resolution, finest_um=None)
    assert judged("resolution", resolution=unknown).outcome == "not measured"


def test_frames_that_are_probably_out_of_focus_fail_the_focus(made, judged):
    doubtful = described(made, lambda row: {"score": 0.9 if row.field == 4 else 0.1})
    test = judged("focus", description=doubtful)
    assert (test.outcome, test.value) == ("fail", pytest.approx(8 / 9))
    unsure = described(made, lambda row: {"verdict": "unsure" if row.field == 4 else "focused"})
    assert judged("focus", description=unsure).value == pytest.approx(8 / 9)


def test_focus_that_nobody_judged_is_not_measured(made, judged):
    unknown = described(made, lambda row: {"score": None})
    assert judged("focus", description=unknown).outcome == "not measured"


def test_tiles_from_elsewhere_have_no_measured_focus(made, judged):
    imported = described(made, lambda row: {"score": None, "verdict": "unsure"})
    assert judged("focus", description=imported).outcome == "not measured"


def test_empty_fields_need_no_focus(made, judged):
    empty = described(made, lambda row: {"verdict": "empty", "score": None} if row.field == 4 else {})
    assert judged("focus", description=empty).value == 1


def test_a_planned_field_beside_tissue_that_was_not_visited_fails_the_coverage(synthetic_scan, resolution):
    holed = assemble(FieldsFolder(synthetic_scan(3, 3, missing=(4,), seed=4).folder.path))
    test = next(test for test in system_tests(holed, resolution) if test.name == "tissue coverage")
    assert (test.outcome, test.value) == ("fail", pytest.approx(4 / 8))


def test_a_gap_between_neighbours_fails_the_coverage(made, judged):
    apart = made.registration.mosaic_xy_px.copy()
    right = [record.column == 2 for record in made.fields.records]
    apart[right, 0] += 200
    test = judged("tissue coverage", registration=replace(made.registration, mosaic_xy_px=apart))
    assert test.outcome == "fail"
    assert "3 gaps" in test.measured


def test_residuals_of_seams_fail_the_stitching(made, judged):
    seams = tuple(replace(seam, residual_px=1.4) for seam in made.registration.seams)
    test = judged("stitching error", registration=replace(made.registration, seams=seams))
    assert (test.outcome, test.value) == ("fail", pytest.approx(1.4))
    loose = tuple(replace(seam, accepted=False) for seam in seams)
    none = judged("stitching error", registration=replace(made.registration, seams=loose))
    assert none.outcome == "not measured"


def test_what_was_not_measured_is_no_pass(made, resolution):
    tests = system_tests(made, replace(resolution, finest_um=None))
    assert overall(tests) == "incomplete"
    failed = replace(tests[0], outcome="fail")
    assert overall((failed, *tests[1:])) == "fail"


@pytest.fixture(scope="module")
def report(scan, tmp_path_factory):
    return report_quality(scan.folder.path, tmp_path_factory.mktemp("out") / "new" / "a report")


class _Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def page(report):
    return _Page(report.files[0].read_text(encoding="utf-8"))


def test_page_picture_and_tables_lie_beside_each_other(report, made):
    folder = report.files[0].parent
    names = {"quality.html", "quality.png", "quality.parquet", "quality.csv"}
    assert {path.name for path in folder.iterdir()} == names == {path.name for path in report.files}
    rows = read_csv(folder / "quality.csv")
    assert rows == read_parquet(folder / "quality.parquet") == made.description.fields


def test_the_page_needs_nothing_from_elsewhere(page):
    for attrs in (attrs for _, attrs in page.tags):
        for name in ("src", "href"):
            assert attrs.get(name, "data:").startswith("data:")
    assert not page.all("script")
    for image in page.all("img"):
        content = base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))
        assert cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) is not None


def test_those_who_do_not_see_it_and_those_on_a_phone_can_read_it(page):
    assert page.all("html")[0]["lang"] == "en"
    assert any(meta.get("name") == "viewport" for meta in page.all("meta"))
    assert len(page.all("img")) == 6
    assert all(len(image["alt"]) > 20 for image in page.all("img"))
    assert len(page.all("h1")) == 1
    assert {head["scope"] for head in page.all("th")} == {"col", "row"}


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_colours_of_text_stand_out_from_white_as_wcag_asks(report):
    text = report.files[0].read_text(encoding="utf-8")
    for colour in set(re.findall(r"[{;\"]\s*color:\s*(#[0-9a-f]{6})", text)):
        assert 1.05 / (luminance(colour) + 0.05) >= 4.5, colour


def test_the_page_says_the_verdict_its_limits_and_each_test(page, report):
    assert "All five tests passed" in page.text
    assert "Research use only" in page.text
    for test in report.tests:
        assert test.measured in page.text
        assert test.limit_text in page.text


def test_the_page_names_no_specimen_and_no_path(report, scan):
    text = report.files[0].read_text(encoding="utf-8")
    assert scan.folder.header.specimen not in text
    assert str(scan.folder.path) not in text
    assert report.name.startswith("slide-")


def test_the_picture_is_one_page(report):
    height, width = cv2.imread(str(report.files[1])).shape[:2]
    assert 0.9 < height / width < 1.5


@pytest.mark.slow
def test_the_command_reports_as_text_and_as_json(scan, tmp_path):
    told = CliRunner().invoke(cli, ["qc", str(scan.folder.path), "--out", str(tmp_path)], catch_exceptions=False)
    assert told.exit_code == 0
    assert all(name in told.output for name in NAMES)
    assert "Research use only" in told.output
    as_json = CliRunner().invoke(cli, ["qc", str(scan.folder.path), "--out", str(tmp_path), "--json"])
    values = json.loads(as_json.stdout)
    assert values["verdict"] == "pass"
    assert set(values["tests"]) == {name.replace(" ", "_") for name in NAMES}
    assert values["tests"]["stitching_error"]["unit"] == "px"


@pytest.mark.long
def test_several_scans_have_a_report_each(scan, synthetic_scan, tmp_path):
    other = synthetic_scan(1, 1, empty=(0,))
    folders = [str(scan.folder.path), str(other.folder.path.rename(other.folder.path.with_name("another")))]
    command = ["qc", *folders, "--out", str(tmp_path / "reports"), "--json"]
    told = json.loads(CliRunner().invoke(cli, command, catch_exceptions=False).stdout)
    assert [slide["verdict"] for slide in told["slides"]] == ["pass", "incomplete"]
    for folder, slide in zip(folders, told["slides"], strict=True):
        name = folder.rsplit("/", 1)[1]
        assert {path.rsplit("/", 2)[1] for path in slide["files"]} == {name}


@pytest.mark.slow
def test_a_report_that_cannot_be_written_leaves_the_one_before(scan, tmp_path):
    (tmp_path / "report").write_text("a file, no folder")
    with pytest.raises(FileError, match="report"):
        report_quality(scan.folder.path, tmp_path / "report")
    assert (tmp_path / "report").read_text() == "a file, no folder"


@pytest.mark.slow
def test_a_single_empty_field_has_a_report_too(synthetic_scan, tmp_path):
    report = report_quality(synthetic_scan(1, 1, empty=(0,)).folder.path, tmp_path)
    assert report.verdict == "incomplete"
    assert {test.outcome for test in report.tests} == {"not measured"}
    assert quality_report.LIMITS in report.files[0].read_text(encoding="utf-8")
