"""Table 2 with its gaps closed, and counts scaled by true areas."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parfocal.errors import SettingsError
from parfocal.review.grading import Count, area_of, frame_area_mm2, grade_mean, mean_count
from parfocal.review.report_forms import load_form

GRAM = load_form("gram")
OIL, LOW = GRAM.areas["oil"], GRAM.areas["low-power"]
BACTERIA, CELLS = GRAM.scales["bacteria"], GRAM.scales["cells"]


@pytest.mark.parametrize(
    ("mean", "grade"),
    [(0, "0"), (0.01, "1+"), (1, "1+"), (1.01, "2+"), (2, "2+"), (10, "2+"), (10.1, "3+"), (11, "3+"), (50, "3+"),
     (50.1, "4+"), (9999, "4+")],
)  # fmt: skip
def test_grades_of_bacteria(mean, grade):
    assert grade_mean(mean, BACTERIA).name == grade


@pytest.mark.parametrize(
    ("mean", "grade"),
    [(0, "0"), (0.01, "1+"), (0.99, "1+"), (1, "2+"), (5, "2+"), (5.01, "3+"), (6, "3+"), (10, "3+"), (10.1, "4+")],
)
def test_grades_of_cells(mean, grade):
    assert grade_mean(mean, CELLS).name == grade


def test_grades_have_the_papers_words():
    assert [step.title for step in BACTERIA.grades] == ["None seen", "Rare", "Few", "Moderate", "Many"]


@given(st.floats(0, 1e6), st.floats(0, 1e6))
@settings(deadline=None)
def test_more_is_never_a_lower_grade(one, other):
    low, high = sorted((one, other))
    for scale in (BACTERIA, CELLS):
        assert scale.grades.index(grade_mean(low, scale)) <= scale.grades.index(grade_mean(high, scale))


@pytest.mark.parametrize("mean", [-1, float("nan")])
def test_what_is_no_count_has_no_grade(mean):
    with pytest.raises(SettingsError, match="negative or no number"):
        grade_mean(mean, CELLS)


def test_an_oil_immersion_field_has_0_0314_square_millimetres():
    assert OIL.area_mm2 == pytest.approx(math.pi / 4 * 0.2**2, abs=1e-12)
    assert round(OIL.area_mm2, 4) == 0.0314


def test_counts_are_scaled_by_true_areas():
    camera = frame_area_mm2(1224, 1024, 0.172)
    assert camera == pytest.approx(1.224 * 0.172 * 1.024 * 0.172)
    count = Count(total=300, fields=30, field_area_mm2=camera)
    assert count.mean_in(OIL) == pytest.approx(10 * 0.0314159265 / camera)
    assert count.mean_in(LOW) == pytest.approx(100 * count.mean_in(OIL))


def test_a_field_of_the_same_area_scales_nothing_and_whole_means_keep_their_grade():
    for fields in (3, 7, 30):
        count = Count(10 * fields, fields, OIL.area_mm2)
        assert grade_mean(count.mean_in(OIL), BACTERIA).name == "2+"
        assert grade_mean(Count(fields, fields, OIL.area_mm2).mean_in(OIL), CELLS).name == "2+"


@given(st.integers(0, 5000), st.integers(1, 60), st.floats(0.001, 5))
@settings(deadline=None)
def test_the_grade_does_not_depend_on_how_large_the_fields_are(total, fields, area):
    """The same density, in fields of four times the area: a quarter of the fields show the same."""
    small, large = Count(total, 4 * fields, area), Count(total, fields, 4 * area)
    assert grade_mean(small.mean_in(OIL), BACTERIA) == grade_mean(large.mean_in(OIL), BACTERIA)


def test_means_of_several_counts_add_up():
    counts = [Count(5, 10, 0.03), Count(7, 10, 0.03)]
    assert mean_count(counts, OIL) == pytest.approx(Count(12, 10, 0.03).mean_in(OIL))


def test_cells_may_be_graded_per_low_power_field_and_bacteria_may_not():
    assert area_of(GRAM, CELLS) == OIL
    assert area_of(GRAM, CELLS, "low-power") == LOW
    with pytest.raises(SettingsError, match="count in oil, not in 'low-power'"):
        area_of(GRAM, BACTERIA, "low-power")
    with pytest.raises(SettingsError, match="oil or low-power, not in 'dry'"):
        area_of(GRAM, CELLS, "dry")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((-1, 1, 1), "-1 is negative"),
        ((1, 0, 1), "in 0 fields"),
        ((1, 1, 0), "0 mm²"),
        ((1, 1, float("inf")), "inf mm²"),
    ],
)
def test_counts_that_cannot_be_are_refused(arguments, told):
    with pytest.raises(SettingsError, match=told):
        Count(*arguments)
