"""Which planes make a pair, with numbers that anybody can check."""

import numpy as np
import pytest
from numbered import AT_20X, AT_40X, DELTA_U, numbered

from parfocal.errors import SettingsError
from parfocal.evaluation.pairing import pair_up
from parfocal.stacks.stack import StackOptics

UNKNOWN = StackOptics()
HALF_UM = np.arange(-10, 10.5, 0.5)


def deltas(stack, pairing):
    return [round(stack.z[second] - stack.z[first], 6) for first, second in pairing.pairs]


def test_at_20x_a_pair_is_two_micrometres():
    stack = numbered(HALF_UM + 0.15)
    pairing = pair_up(stack, DELTA_U)
    assert set(deltas(stack, pairing)) == {2.0}
    assert len(pairing.pairs) == 41 - 4
    assert pairing.is_scaled
    assert pairing.half_dof_um == pytest.approx(1.21 / 2, abs=0.005)
    assert pairing.unit_um == pytest.approx(0.81, abs=0.005)


def test_at_another_lens_it_is_the_whole_number_of_planes_that_looks_like_it():
    stack = numbered(HALF_UM, optics=AT_40X)
    pairing = pair_up(stack, DELTA_U)
    assert set(deltas(stack, pairing)) == {3.0}  # 2.84 µm would be exact
    assert pairing.half_dof_um == pytest.approx(1.43 / 2, abs=0.005)


def test_where_the_nearest_number_of_planes_is_unknown_to_the_network_the_next_one_is_taken():
    stack = numbered(np.arange(-9, 9, 1.4))
    assert set(deltas(stack, pair_up(stack, (2.9, 3.6)))) == {2.8}
    with pytest.raises(SettingsError, match=r"1\.40 µm apart, and no number of them is a Δ"):
        pair_up(stack, (2.0, 2.2))


def test_pairs_are_found_by_value_where_a_plane_is_missing():
    z = np.delete(HALF_UM, 10)
    stack = numbered(z)
    pairing = pair_up(stack, DELTA_U)
    assert set(deltas(stack, pairing)) == {2.0}
    assert len(pairing.pairs) == 37 - 2


def test_in_steps_of_unknown_size_two_planes_make_a_pair_and_there_is_no_scale():
    stack = numbered(range(11), best_z=6.0, z_unit="step", optics=UNKNOWN)
    pairing = pair_up(stack, DELTA_U)
    assert pairing.pairs == tuple((i, i + 2) for i in range(9))
    assert not pairing.is_scaled
    assert 2 * pairing.um_per_z / pairing.unit_um == pytest.approx(2.6)
    assert 3 * pair_up(stack, DELTA_U, delta_planes=3).um_per_z / pairing.unit_um == pytest.approx(2.6)


def test_a_recorded_size_of_a_step_gives_no_scale_without_the_lens():
    lens_unknown = StackOptics(step_um=200.0, pixel_size_um=4.3)
    assert not pair_up(numbered(range(9), z_unit="step", optics=lens_unknown), DELTA_U).is_scaled
    lens_known = StackOptics(step_um=1.0, pixel_size_um=0.345, na=0.75)
    assert pair_up(numbered(range(9), z_unit="step", optics=lens_known), DELTA_U).is_scaled


def test_a_given_size_of_a_step_gives_the_number_of_planes_and_a_scale():
    stack = numbered(range(21), z_unit="step", optics=UNKNOWN)
    pairing = pair_up(stack, DELTA_U, um_per_step=0.4)
    assert set(deltas(stack, pairing)) == {5.0}
    assert pairing.is_scaled
    assert pairing.um_per_z == 0.4


def test_planes_far_apart_under_an_unknown_lens_can_still_be_put_in_order():
    stack = numbered(np.arange(-40, 41, 10.0), optics=UNKNOWN)
    for planes, pairs in [(None, 7), (1, 8), (3, 6)]:
        pairing = pair_up(stack, DELTA_U, delta_planes=planes)
        assert len(pairing.pairs) == pairs
        assert not pairing.is_scaled
    with pytest.raises(SettingsError, match=r"10\.00 µm apart"):
        pair_up(numbered(stack.z, optics=AT_20X), DELTA_U)


def test_a_few_pairs_that_happen_to_suit_another_lens_make_no_scale():
    stack = numbered([0, 2, 12, 22, 32, 42], optics=UNKNOWN)
    pairing = pair_up(stack, DELTA_U, delta_planes=1)
    assert not pairing.is_scaled
    assert pairing.pairs == ((1, 2), (2, 3), (3, 4), (4, 5))


def test_pairs_at_a_delta_that_the_network_does_not_know_are_left_out_and_counted():
    stack = numbered([0, 10, 20, 30, 30.1, 40], optics=UNKNOWN)
    pairing = pair_up(stack, DELTA_U, delta_planes=1)
    assert pairing.pairs == ((0, 1), (1, 2), (2, 3), (4, 5))
    assert pairing.skipped == 1
    with pytest.raises(SettingsError, match=r"no pair of its planes has a Δ that the network knows, 1\.55 to 2\.73 µm"):
        pair_up(numbered(range(0, 50, 10)), DELTA_U, delta_planes=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"delta_planes": 0}, "Δ of 0 planes: stack numbered allows 1 to 8"),
        ({"delta_planes": 9}, "Δ of 9 planes"),
        ({"um_per_step": 1.0}, "has its z in µm: 1 µm per step does not apply"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(SettingsError, match=message):
        pair_up(numbered(range(9)), DELTA_U, **settings)


@pytest.mark.parametrize("size_um", [0.0, -1.0, float("nan"), float("inf")])
def test_a_step_without_size_is_refused(size_um):
    with pytest.raises(SettingsError, match="µm per step is not above 0"):
        pair_up(numbered(range(9), z_unit="step", optics=UNKNOWN), DELTA_U, um_per_step=size_um)


def test_one_plane_makes_no_pair():
    with pytest.raises(SettingsError, match="has 1 plane: a pair needs two"):
        pair_up(numbered([0.0], optics=AT_20X), DELTA_U)
