"""What an objective's aperture fixes: facts.md section 4 for depth of field, design.md section 2 for the scale."""

import pytest

from parfocal.errors import SettingsError
from parfocal.optics.objective import Objective

SENSOR_PIXEL_UM = 3.45


@pytest.mark.parametrize(
    ("magnification", "na", "index", "expected_um"),
    [
        (20, 0.75, 1.0, 1.21),
        (20, 0.4, 1.0, 3.87),
        (40, 0.65, 1.0, 1.43),
        (40, 0.95, 1.0, 0.70),
        (100, 1.25, 1.515, 0.58),
        (10, 0.25, 1.0, 10.2),
    ],
)
def test_depth_of_field_is_diffraction_plus_the_unbinned_pixel(magnification, na, index, expected_um):
    depth_um = Objective(magnification, na, index).depth_of_field_um(SENSOR_PIXEL_UM)
    assert depth_um == pytest.approx(expected_um, rel=0.01)


@pytest.mark.parametrize(
    ("objective", "unit_um"),
    [(Objective(20, 0.75), 0.81), (Objective(40, 0.65), 1.15), (Objective(100, 1.25, 1.515), 0.42)],
)
def test_canonical_unit_of_defocus(objective, unit_um):
    assert objective.canonical_z_um == pytest.approx(unit_um, abs=0.01)


def test_canonical_pixel_is_the_default_cameras_at_20x():
    assert Objective(20, 0.75).canonical_pixel_um == pytest.approx(0.345, abs=0.001)


def test_two_um_at_20x_is_the_same_picture_as_2_82_at_40x():
    ratio = Objective(40, 0.65).canonical_z_um / Objective(20, 0.75).canonical_z_um
    assert 2.0 * ratio == pytest.approx(2.82, abs=0.01)


def test_resolution_is_rayleighs():
    assert Objective(20, 0.75).resolution_um == pytest.approx(0.61 * 0.55 / 0.75)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((0, 0.5), "magnification 0"),
        ((-20, 0.5), "magnification -20"),
        ((float("nan"), 0.5), "magnification nan"),
        ((20, 0.0), "numerical aperture 0 "),
        ((20, 1.0), "numerical aperture 1 .*immersion index 1"),
        ((100, 1.6, 1.515), "numerical aperture 1.6 .*immersion index 1.515"),
    ],
)
def test_a_lens_that_cannot_be_is_refused_by_value(arguments, named):
    with pytest.raises(SettingsError, match=named):
        Objective(*arguments)
