"""A scan plan goes to useq and comes back the same; other people's grids come in, uneven ones do not."""

import pytest

useq = pytest.importorskip("useq")

from parfocal.errors import SettingsError  # noqa: E402
from parfocal.micromanager.plans import from_useq, to_useq  # noqa: E402
from parfocal.scan.plan import plan_scan  # noqa: E402

FRAME_UM = (1224 * 0.345, 1024 * 0.345)
LIMITS_UM = ((-12_500.0, 12_500.0), (-12_500.0, 12_500.0))


def planned(area_mm=(1.5, 1.0), centre_um=(200.0, -300.0)):
    return plan_scan(area_mm, (1024, 1224), 0.345, 4.0, LIMITS_UM, centre_um)


def test_positions_come_in_the_order_of_the_visit_each_focused_first():
    plan = planned()
    events = list(to_useq(plan, z_um=12.0))
    assert len(events) == 2 * len(plan)
    for field, step, exposure in zip(plan, events[::2], events[1::2], strict=True):
        assert isinstance(step.action, useq.HardwareAutofocus)
        assert exposure.action is None or isinstance(exposure.action, useq.AcquireImage)
        assert (exposure.x_pos, exposure.y_pos, exposure.z_pos) == (field.x_um, field.y_um, 12.0)
        assert exposure.pos_name == f"{field.row}-{field.column}"


def test_without_autofocus_it_is_positions_alone():
    plan = planned()
    events = list(to_useq(plan, autofocus=False))
    assert len(events) == len(plan)
    assert {event.z_pos for event in events} == {None}


@pytest.mark.parametrize("area_mm", [(1.5, 1.0), (0.1, 0.1), (0.1, 2.0)])
def test_a_plan_comes_back_the_same(area_mm):
    plan = planned(area_mm)
    back = from_useq(useq.MDASequence.model_validate_json(to_useq(plan).model_dump_json()), FRAME_UM)
    assert (back.rows, back.columns) == (plan.rows, plan.columns)
    for ours, theirs in zip(plan, back, strict=True):
        assert (ours.row, ours.column) == (theirs.row, theirs.column)
        assert (ours.x_um, ours.y_um) == pytest.approx((theirs.x_um, theirs.y_um))
    assert back.overlap == pytest.approx(plan.overlap, abs=0.15 if 1 in (plan.rows, plan.columns) else 1e-9)


def test_a_grid_around_a_position_is_a_plan_whatever_its_order():
    grid = useq.GridRowsColumns(rows=3, columns=4, overlap=10, mode="spiral")
    plan = from_useq(useq.MDASequence(stage_positions=[(1000, 500)], grid_plan=grid), FRAME_UM)
    assert (plan.rows, plan.columns) == (3, 4)
    assert plan.centre_um == pytest.approx((1000, 500))
    assert plan.overlap == pytest.approx(0.1)
    assert plan.step_um == pytest.approx((0.9 * FRAME_UM[0], 0.9 * FRAME_UM[1]))


@pytest.mark.parametrize(
    ("places", "why"),
    [
        ([(0, 0), (300, 0), (0, 300)], "3 places of the plan do not fill a rectangle of 2 × 2 fields"),
        ([(0, 0), (300, 0), (500, 0)], "200.0 to 300.0 µm apart, not evenly"),
        ([(0, 0), (900, 0)], "900.0 µm apart, a frame has 422.3 µm"),
    ],
)
def test_what_is_no_grid_without_gaps_is_refused(places, why):
    with pytest.raises(SettingsError, match=why):
        from_useq(useq.MDASequence(stage_positions=places), FRAME_UM)


def test_a_sequence_without_places_is_refused():
    with pytest.raises(SettingsError, match="0 places"):
        from_useq(useq.MDASequence(channels=["BF"]), FRAME_UM)
