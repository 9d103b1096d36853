"""A plan covers an area with fields that overlap enough, in a serpentine, inside the stage's limits."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parfocal.errors import SettingsError
from parfocal.scan.plan import MIN_SHARED_PX, plan_scan

WIDE = ((-12_500.0, 12_500.0), (-12_500.0, 12_500.0))
FRAME, PIXEL_UM = (1024, 1224), 0.345


def plan(area_mm=(2.0, 2.0), frame_shape=FRAME, pixel_um=PIXEL_UM, error_um=4.0, limits_um=WIDE, **more):
    return plan_scan(area_mm, frame_shape, pixel_um, error_um, limits_um, **more)


def test_the_default_scan_is_six_by_seven_fields():
    made = plan()
    assert (made.columns, made.rows, len(made)) == (6, 7, 42)


@given(
    area_mm=st.tuples(st.floats(0.05, 8.0), st.floats(0.05, 8.0)),
    error_um=st.floats(0.0, 30.0),
    frame_shape=st.tuples(st.integers(900, 2000), st.integers(900, 2000)),
)
def test_neighbours_share_64_px_at_three_sigma_and_a_tenth_of_the_frame(area_mm, error_um, frame_shape):
    made = plan(area_mm, frame_shape, error_um=error_um)
    for step_um, pixels in zip(made.step_um, (frame_shape[1], frame_shape[0]), strict=True):
        shared_um = pixels * PIXEL_UM - step_um
        assert shared_um - 3 * error_um >= MIN_SHARED_PX * PIXEL_UM - 1e-6
        assert shared_um >= 0.1 * pixels * PIXEL_UM - 1e-6


@given(area_mm=st.tuples(st.floats(0.01, 6.0), st.floats(0.01, 6.0)))
def test_the_fields_cover_the_area_with_no_more_rows_than_needed(area_mm):
    made = plan(area_mm)
    for side_mm, count, step_um, pixels in zip(
        area_mm, (made.columns, made.rows), made.step_um, (FRAME[1], FRAME[0]), strict=True
    ):
        frame_um = pixels * PIXEL_UM
        assert frame_um + (count - 1) * step_um >= side_mm * 1000 - 1e-3
        assert count == 1 or frame_um + (count - 2) * step_um < side_mm * 1000


def test_rows_are_visited_there_and_back_so_that_each_move_is_one_step():
    made = plan((1.2, 1.0))
    fields = list(made)
    assert [(field.row, field.column) for field in fields[: 2 * made.columns]] == [
        *((0, column) for column in range(made.columns)),
        *((1, column) for column in reversed(range(made.columns))),
    ]
    assert [field.index for field in fields] == list(range(len(made)))
    for before, after in pairwise(fields):
        moved_um = (abs(after.x_um - before.x_um), abs(after.y_um - before.y_um))
        assert moved_um in (pytest.approx((made.step_um[0], 0.0)), pytest.approx((0.0, made.step_um[1])))


def test_columns_follow_x_rows_follow_y_and_the_centre_is_where_it_was_wanted():
    fields = list(plan((1.5, 1.0), centre_um=(700.0, -300.0)))
    assert sum(field.x_um for field in fields) / len(fields) == pytest.approx(700.0)
    assert sum(field.y_um for field in fields) / len(fields) == pytest.approx(-300.0)
    for field in fields:
        assert math.copysign(1, field.x_um - fields[0].x_um) >= 0
        assert field.y_um >= fields[0].y_um - 1e-9


@pytest.mark.parametrize("side_mm", [0.0, -1.0, math.nan, math.inf])
def test_an_area_without_extent_is_refused(side_mm):
    with pytest.raises(SettingsError, match=r"width of .* mm is not above 0 mm"):
        plan((side_mm, 1.0))


def test_a_region_outside_the_stage_is_refused_with_its_extent_and_the_limits():
    with pytest.raises(
        SettingsError, match=r"the region needs x from -\d+ to \d+ µm, outside the stage's -500 … 500 µm"
    ):
        plan((2.0, 0.3), limits_um=((-500.0, 500.0), (-500.0, 500.0)))


def test_a_stage_too_inaccurate_for_the_frame_is_refused():
    with pytest.raises(SettingsError, match=r"stage error of 100 µm needs 322 µm of overlap, more than 60% of a frame"):
        plan(error_um=100.0)
