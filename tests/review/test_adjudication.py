"""Adjudication: who was right, and what the fields that were not drawn explain."""

import re

import pytest

from parfocal.errors import FileError, InputError
from parfocal.review.adjudication import Adjudication, adjudicated, read_adjudications
from parfocal.review.agreement import Comparison, agreement_with_reference
from parfocal.review.agreement_report import measure_agreement
from parfocal.review.agreement_tables import text
from parfocal.review.readings import Reading

HEAD = "slide,modality,organisms,not_drawn\n"


def reading(slide, modality, organisms, **more):
    return Reading("A", slide, modality, frozenset(organisms), **more)


def compared(reference, found):
    return Comparison(reading("S", "scan", found), reading("S", "glass", reference))


def judged(truth, not_drawn=""):
    return Adjudication("S", "scan", frozenset(truth), frozenset(not_drawn))


@pytest.mark.parametrize(
    ("truth", "reference", "found", "right"),
    [
        ("ab", "a", "ab", "reading"),
        ("a", "a", "ab", "reference"),
        ("abc", "a", "ab", "neither"),
        ("", "a", "", "reading"),
    ],
)
def test_right_is_who_named_just_what_is_on_the_slide(truth, reference, found, right):
    assert judged(truth).right(compared(reference, found)) == right


def test_who_could_not_tell_is_not_right_about_an_empty_slide():
    one = Comparison(reading("S", "scan", "", interpretable=False), reading("S", "glass", "a"))
    assert judged("").right(one) == "neither"


@pytest.mark.parametrize(
    ("truth", "not_drawn", "found", "explained"),
    [("ab", "b", "a", True), ("ab", "", "a", False), ("abc", "b", "a", False), ("ab", "b", "ab", False)],
)
def test_fields_that_were_not_drawn_explain_what_was_missed_if_all_of_it_was_there(truth, not_drawn, found, explained):
    assert judged(truth, not_drawn).explains(compared("ab", found)) == explained


def test_what_is_in_fields_not_drawn_is_on_the_slide():
    with pytest.raises(InputError, match="slide S, scan: b is in fields not drawn, and not on the slide"):
        judged("a", "b")


READINGS = [
    *(reading(slide, "glass", "a") for slide in ("S1", "S2", "S3", "S4")),
    *(reading(slide, "scan", found) for slide, found in (("S1", "a"), ("S2", "ab"), ("S3", ""), ("S4", "b"))),
]
DECIDED = {
    ("S2", "scan"): Adjudication("S2", "scan", frozenset("ab")),
    ("S3", "scan"): Adjudication("S3", "scan", frozenset("a"), frozenset("a")),
}


def test_a_study_tells_who_was_right_and_changes_no_agreement():
    rows = adjudicated(agreement_with_reference(READINGS, "glass"), DECIDED)
    assert rows == {
        "A": {
            "scan": {
                "discordances": 3,
                "adjudicated": 2,
                "reading_right": 1,
                "reference_right": 1,
                "neither_right": 0,
                "missed_not_drawn": 1,
            }
        }
    }
    with_it = measure_agreement(READINGS, resamples=0, decided=DECIDED).to_json()
    without = measure_agreement(READINGS, resamples=0).to_json()
    assert with_it.pop("adjudication") == rows
    assert without.pop("adjudication") == {}
    assert with_it == without


def test_it_stands_in_the_tables():
    figures = measure_agreement(READINGS, resamples=0, decided=DECIDED).to_json()
    assert re.search(r"^A, scan +3 +2 +1 +1 +0 +1$", text(figures), re.MULTILINE)


def test_what_nobody_read_cannot_be_adjudicated():
    decided = {("S9", "scan"): Adjudication("S9", "scan", frozenset())}
    with pytest.raises(InputError, match="slide S9, scan was adjudicated, and read by nobody"):
        measure_agreement(READINGS, resamples=0, decided=decided)


def test_adjudications_are_read_from_a_file(tmp_path):
    path = tmp_path / "adjudicated.csv"
    path.write_text(HEAD + "S2,scan,B; a,\nS3,scan,a,A\n", encoding="utf-8")
    assert read_adjudications(path) == DECIDED


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("slide,modality,organisms\n", "no column 'not_drawn'; it needs slide, modality, organisms"),
        (HEAD + "S1,scan,a\n", "line 2: does not have 4 cells"),
        (HEAD + "S1,scan,a,b\n", "line 2: slide S1, scan: b is in fields not drawn"),
        (HEAD + "S1,scan,a,\nS1,scan,a,\n", "slide S1, scan is adjudicated twice"),
    ],
)
def test_a_mistake_is_told(tmp_path, written, told):
    path = tmp_path / "adjudicated.csv"
    path.write_text(written, encoding="utf-8")
    with pytest.raises(FileError, match=told):
        read_adjudications(path)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(FileError, match="cannot be read"):
        read_adjudications(tmp_path / "none.csv")
