import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parfocal.errors import SettingsError
from parfocal.focus.surface import FocusSurface

STEP_UM = 300.0


def plane_um(x_um, y_um):
    return 10.0 + 4e-3 * x_um - 2e-3 * y_um


def scanned(surface_um, rows=3, columns=5, sigma_um=0.0, seed=0, **settings):
    """A surface that has learnt a serpentine of fields."""
    rng = np.random.default_rng(seed)
    surface = FocusSurface(0.0, **settings)
    for row in range(rows):
        for column in range(columns) if row % 2 == 0 else reversed(range(columns)):
            x_um, y_um = column * STEP_UM, row * STEP_UM
            surface.add(x_um, y_um, surface_um(x_um, y_um) + rng.normal(0, sigma_um), 0.3)
    return surface


def test_before_any_field_it_is_the_sweeps_focus():
    assert FocusSurface(7.5).pivot_um(1e4, -1e4) == 7.5


def test_with_few_fields_it_is_the_nearest_ones():
    surface = FocusSurface(0.0)
    surface.add(0.0, 0.0, 5.0)
    surface.add(300.0, 0.0, 6.0)
    assert surface.pivot_um(250.0, 10.0) == 6.0


def test_it_follows_a_tilted_slide_to_the_next_row():
    surface = scanned(plane_um)
    for column in range(5):
        assert surface.pivot_um(column * STEP_UM, 3 * STEP_UM) == pytest.approx(
            plane_um(column * STEP_UM, 900.0), abs=0.3
        )


def test_noise_of_the_fields_does_not_grow_in_the_pivot():
    errors_um = [
        scanned(plane_um, sigma_um=0.3, seed=seed).pivot_um(600.0, 900.0) - plane_um(600.0, 900.0) for seed in range(40)
    ]
    assert np.sqrt(np.mean(np.square(errors_um))) < 0.6


@pytest.mark.parametrize("outlier", [0, 7, 12, 14])
@pytest.mark.parametrize("height_um", [-15.0, 15.0])
def test_one_field_focused_on_dust_does_not_spoil_its_neighbours(outlier, height_um):
    surface = FocusSurface(0.0)
    for index, point in enumerate(scanned(plane_um).points):
        surface.add(point.x_um, point.y_um, point.z_um + (height_um if index == outlier else 0.0), 0.3)
    for column in range(5):
        assert surface.pivot_um(column * STEP_UM, 900.0) == pytest.approx(plane_um(column * STEP_UM, 900.0), abs=1.0)


def test_from_one_row_it_does_not_invent_a_slope_across():
    surface = scanned(plane_um, rows=1)
    assert surface.pivot_um(600.0, 300.0) == pytest.approx(plane_um(600.0, 0.0), abs=0.1)


@given(
    st.lists(st.tuples(st.floats(0, 2000), st.floats(0, 2000), st.floats(-40, 40)), min_size=1, max_size=12),
    st.floats(-1e5, 1e5),
    st.floats(-1e5, 1e5),
)
def test_it_never_extrapolates_wildly(fields, x_um, y_um):
    surface = FocusSurface(0.0, largest_step_um=5.0)
    for field in fields:
        surface.add(*field)
    z_um = [field[2] for field in fields]
    assert min(z_um) - 5.0 <= surface.pivot_um(x_um, y_um) <= max(z_um) + 5.0


def test_it_remembers_its_fields_in_order():
    surface = FocusSurface(0.0)
    surface.add(1.0, 2.0, 3.0, 0.4)
    surface.add(4.0, 5.0, 6.0)
    assert [(p.x_um, p.y_um, p.z_um, p.spread_um) for p in surface.points] == [(1, 2, 3, 0.4), (4, 5, 6, None)]


@pytest.mark.parametrize("field", [(np.nan, 0, 0), (0, np.inf, 0), (0, 0, np.nan)])
def test_a_field_without_a_place_is_refused(field):
    with pytest.raises(SettingsError, match="is not a point"):
        FocusSurface(0.0).add(*field)


@pytest.mark.parametrize("settings", [{"initial_um": np.nan}, {"neighbours": 0}, {"largest_step_um": -1.0}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(SettingsError):
        FocusSurface(**({"initial_um": 0.0} | settings))
