"""Classical focusing on curves whose focus is known, and on simulated light."""

import math

import numpy as np
import pytest
from numbered import DELTA_U, numbered

from parfocal.errors import SettingsError
from parfocal.evaluation.claims import deviation_over_focus
from parfocal.evaluation.classical import focus_curve, full_stack, parabola_defocus, three_point_parabola
from parfocal.evaluation.pairing import pair_up
from parfocal.merit import brenner, tenengrad


def lorentzian(z_um, focus_um=0.0, width_um=3.0):
    """A score whose inverse is a parabola."""
    return 1.0 / (1.0 + ((z_um - focus_um) / width_um) ** 2)


@pytest.mark.parametrize("focus_um", [-1.3, 0.0, 0.4, 5.0])
@pytest.mark.parametrize("spacing_um", [0.5, 2.0])
def test_the_parabola_is_exact_where_one_over_the_score_is_one(focus_um, spacing_um):
    scores = tuple(lorentzian(z, focus_um) for z in (-spacing_um, 0.0, spacing_um))
    assert parabola_defocus(spacing_um, scores, 10.0) == pytest.approx(-focus_um)


def test_beyond_its_reach_the_parabola_only_tells_a_direction():
    assert parabola_defocus(1.0, (1.0, 1.2, 5.0), 10.0) == -10.0  # sharper above: the image is below focus
    assert parabola_defocus(1.0, (5.0, 1.2, 1.0), 10.0) == 10.0
    far = tuple(lorentzian(z, 40.0) for z in (-1.0, 0.0, 1.0))
    assert parabola_defocus(1.0, far, 10.0) == -10.0


def test_black_frames_are_no_division_by_zero():
    assert math.isfinite(parabola_defocus(1.0, (0.0, 0.0, 0.0), 10.0))


class Pattern:
    """Frames of a grating whose contrast falls with distance from focus, so that Brenner's score is a Lorentzian."""

    def __init__(self, stack, focus_um):
        self._z, self._focus_um = stack.z, focus_um

    def __call__(self, index):
        contrast = math.sqrt(lorentzian(self._z[index], self._focus_um))
        wave = np.where(np.arange(64) // 2 % 2, 100.0, -100.0) * contrast
        return np.repeat(np.tile(128 + wave, (64, 1))[..., None], 3, axis=2).round().astype(np.uint8)


@pytest.fixture
def patterned(monkeypatch):
    """A stack ±8 µm, 0.5 µm apart, whose best focus is at 0.2 µm."""
    stack = numbered(np.arange(-8, 8.5, 0.5), best_z=0.2)
    monkeypatch.setattr(type(stack), "plane", lambda self, index: Pattern(self, 0.2)(index))
    return stack


def test_three_points_delta_apart_find_the_focus_of_a_grating(patterned):
    pairing = pair_up(patterned, DELTA_U)
    told = three_point_parabola(patterned, pairing, 10.0)
    assert len(told.fields) == 33 - 8
    assert told.truth_um == pytest.approx(np.arange(-6, 6.5, 0.5) - 0.2)
    near = np.abs(told.truth_um) < 3
    assert np.abs(told.predicted_um - told.truth_um)[near].max() < 0.15
    assert told.to_json()["sign_accuracy"] == 1


def test_the_full_stack_gives_one_field_with_the_peak_of_its_curve(patterned):
    told = full_stack(patterned, pair_up(patterned, DELTA_U))
    assert len(told.fields) == 1
    assert np.abs(told.predicted_um - told.truth_um)[0] < 0.1


def test_a_focus_curve_scores_each_plane(patterned):
    curve = focus_curve(patterned, 1.0, "brenner")
    assert curve.score[3] == pytest.approx(brenner(patterned.plane(3)))
    assert curve.z_um == pytest.approx(patterned.z)
    assert focus_curve(patterned, 1.0, "tenengrad").score[3] == pytest.approx(tenengrad(patterned.plane(3)))


def test_the_deviation_of_a_field_over_defocus_is_that_of_its_pixels(patterned):
    told = deviation_over_focus(patterned, reach_um=3.0)
    assert told.defocus_um == pytest.approx(np.arange(-2.5, 3.5, 0.5) - 0.2)
    direct = [np.std(patterned.plane(index).astype(float)[..., 0]) for index in range(11, 23)]
    assert told.deviation == pytest.approx(direct, rel=1e-6)
    assert told.relative_range == pytest.approx((max(direct) - min(direct)) / max(direct), rel=1e-6)


def test_a_field_that_shows_the_same_at_every_z_has_no_range():
    stack = numbered(np.arange(-3, 4.0))
    assert math.isnan(deviation_over_focus(stack).relative_range)  # flat frames
    with pytest.raises(SettingsError, match="has no best focus"):
        deviation_over_focus(numbered(range(3), best_z=None))
    with pytest.raises(SettingsError, match="no plane within 10 µm"):
        deviation_over_focus(numbered(range(50, 60)))
