"""A report typed into a file, and the command that grades, signs, amends and prints it."""

import json

import pypdf
import pytest
from click.testing import CliRunner

from parfocal.cli.studying import study
from parfocal.errors import FileError, InputError
from parfocal.review.report_entry import read_entry

ENTRY = """
form = "gram"
slide = "K7M2"
fields = 10
field = { magnification = 100, field_number_mm = 20 }
[counts]
gnb = 110
pus = 5
[answers]
comment = "thick"
"""


@pytest.fixture
def entry(tmp_path):
    path = tmp_path / "smear.toml"
    path.write_text(ENTRY, encoding="utf-8")
    return path


def run(*arguments):
    return CliRunner().invoke(study, ["report", *map(str, arguments)], catch_exceptions=False).stdout


def test_an_eyepiece_tells_the_area_of_a_field(entry):
    assert read_entry(entry).field_area_mm2 == pytest.approx(0.031415926)


def test_a_camera_frame_tells_it_too(entry):
    frame = "{ width_px = 1000, height_px = 800, pixel_size_um = 0.25 }"
    entry.write_text(ENTRY.replace("{ magnification = 100, field_number_mm = 20 }", frame), encoding="utf-8")
    assert read_entry(entry).field_area_mm2 == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('slide = "K7M2"', "", "slide: Field required"),
        ("fields = 10", "fields = 0", "fields: "),
        ("magnification = 100, ", "", "field"),
        ("gnb = 110", "gnb = 1.5", r"counts\.gnb"),
        ('form = "gram"', 'form = "none"', "no form 'none'"),
        ('form = "gram"', "form = ", "is not TOML"),
    ],
)
def test_a_mistake_is_told(entry, old, new, told):
    entry.write_text(ENTRY.replace(old, new), encoding="utf-8")
    with pytest.raises(FileError, match=told):
        read_entry(entry)


def test_the_command_grades(entry):
    told = run(entry)
    assert "Gram-negative bacilli               110  3+ Moderate (11 in an oil-immersion field)" in told
    assert "draft, not signed" in told
    assert json.loads(run(entry, "--json"))["findings"][1]["grade"] == "1+"


def test_the_command_signs_writes_and_amends(entry, tmp_path):
    first, second, pdf = (tmp_path / name for name in ("first.json", "second.json", "second.pdf"))
    assert "signed by Dr. A" in run(entry, "--sign", "Dr. A", "--out", first)
    entry.write_text(ENTRY.replace("110", "9"), encoding="utf-8")
    run(entry, "--amend", first, "--reason", "miscounted", "--sign", "Dr. A", "--out", second, "--pdf", pdf)
    before, after = (json.loads(path.read_text(encoding="utf-8")) for path in (first, second))
    assert (after["version"], after["amends"]) == (2, before["signature"]["digest"])
    assert (before["counts"]["gnb"], after["counts"]["gnb"]) == (110, 9)
    assert "miscounted" in pypdf.PdfReader(pdf).pages[0].extract_text()
    assert "version 2" in run(second)


def test_a_signed_report_is_not_signed_again(entry, tmp_path):
    run(entry, "--sign", "Dr. A", "--out", tmp_path / "first.json")
    with pytest.raises(InputError, match=r"was signed by Dr\. A"):
        run(tmp_path / "first.json", "--sign", "Dr. B")
