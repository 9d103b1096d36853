"""The surface follows how a slide lies, says how sure it is, and is not led astray by a field focused on dust."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parfocal.benchmark.slides import SLIDES
from parfocal.errors import SettingsError
from parfocal.focus import surface as surface_module
from parfocal.focus.surface import Expectation, FocusSurface

STEP_UM = 300.0


def plane_um(x_um, y_um):
    return 10.0 + 4e-3 * x_um - 2e-3 * y_um


def bowed_um(x_um, y_um):
    return plane_um(x_um, y_um) + 0.4e-6 * (x_um**2 + y_um**2)


def serpentine(rows=3, columns=5):
    """Places (x, y) in µm in the order of a scan."""
    for row in range(rows):
        for column in range(columns) if row % 2 == 0 else reversed(range(columns)):
            yield column * STEP_UM, row * STEP_UM


def scanned(surface_um, rows=3, columns=5, sigma_um=0.0, seed=0, sd_um=0.3, **settings):
    """A surface that has learnt a serpentine of fields."""
    rng = np.random.default_rng(seed)
    surface = FocusSurface(0.0, STEP_UM, **settings)
    for x_um, y_um in serpentine(rows, columns):
        surface.add(x_um, y_um, surface_um(x_um, y_um) + rng.normal(0, sigma_um), sd_um)
    return surface


class TestBeforeAnyField:
    def test_it_is_the_sweeps_focus_everywhere_with_the_deviation_given(self):
        surface = FocusSurface(7.5, initial_sd_um=4.0)
        assert surface.expect(1e4, -1e4) == Expectation(7.5, 4.0)
        assert surface.last_um == 7.5

    def test_after_one_field_it_is_that_field_and_the_less_sure_the_farther_away(self):
        surface = FocusSurface(0.0, STEP_UM)
        surface.add(0.0, 0.0, 5.0, 0.2)
        sds_um = [surface.expect(away_um, 0.0).sd_um for away_um in (0.0, 300.0, 1000.0, 4000.0)]
        assert surface.expect(0.0, 0.0).z_um == pytest.approx(5.0, abs=0.1)
        assert sds_um == sorted(sds_um)
        assert sds_um[0] < 0.5 < 1.0 < sds_um[1]


class TestFollowingTheSlide:
    @pytest.mark.parametrize("lies_um", [plane_um, bowed_um])
    def test_tilt_and_bow_lead_to_the_next_row(self, lies_um):
        surface = scanned(lies_um, sd_um=0.1)
        for column in range(5):
            place = column * STEP_UM, 3 * STEP_UM
            assert surface.expect(*place).z_um == pytest.approx(lies_um(*place), abs=0.3)

    def test_between_fields_it_is_surer_than_beside_them(self):
        surface = scanned(plane_um)
        assert surface.expect(600.0, 450.0).sd_um < surface.expect(600.0, 900.0).sd_um
        assert surface.expect(600.0, 900.0).sd_um < surface.expect(600.0, 1500.0).sd_um

    def test_noise_of_the_fields_does_not_grow_in_what_is_expected(self):
        errors_um = [
            scanned(plane_um, sigma_um=0.3, seed=seed).expect(600.0, 900.0).z_um - plane_um(600.0, 900.0)
            for seed in range(20)
        ]
        assert np.sqrt(np.mean(np.square(errors_um))) < 0.4

    def test_from_one_row_it_does_not_invent_a_slope_across_and_is_not_sure_of_it(self):
        surface = scanned(plane_um, rows=1)
        expected = surface.expect(600.0, 300.0)
        assert expected.z_um == pytest.approx(plane_um(600.0, 0.0), abs=0.2)
        assert expected.sd_um > 0.6  # twice the slope that lies across, over one step

    def test_a_sure_measurement_counts_more_than_an_unsure_one(self):
        surface = FocusSurface(0.0, STEP_UM)
        surface.add(0.0, 0.0, 1.0, 0.1)
        surface.add(0.0, 0.0, 2.0, 0.9)
        assert surface.expect(0.0, 0.0).z_um == pytest.approx(1.0, abs=0.1)

    def test_a_measurement_of_unknown_deviation_counts_little(self):
        surface = FocusSurface(0.0, STEP_UM)
        surface.add(0.0, 0.0, 1.0, 0.1)
        surface.add(0.0, 0.0, 2.0)
        assert surface.expect(0.0, 0.0).z_um == pytest.approx(1.0, abs=0.1)

    def test_on_a_rough_slide_it_is_less_sure_between_fields_than_on_a_smooth_one(self):
        rng = np.random.default_rng(3)
        smooth, rough = scanned(plane_um, 4, 6, 0.05, sd_um=0.1), FocusSurface(0.0, STEP_UM)
        for x_um, y_um in serpentine(4, 6):
            rough.add(x_um, y_um, plane_um(x_um, y_um) + rng.normal(0, 1.0), 0.1)
        assert smooth.between_sd_um < 0.3
        assert rough.between_sd_um > 2 * smooth.between_sd_um
        assert rough.expect(750.0, 450.0).sd_um > 2 * smooth.expect(750.0, 450.0).sd_um


def residuals_in_sds(slide, seed, noise_um=0.2, side=8, known=10):
    """What each field of a scan turned out to be less what was expected before, in deviations."""
    rng, relief = np.random.default_rng(seed), slide.relief(seed)
    places = list(serpentine(side, side))
    x_um, y_um = (np.array(axis_um) - (side - 1) / 2 * STEP_UM for axis_um in zip(*places, strict=True))
    z_um = relief.focus_z_um(x_um, y_um)
    surface, residuals = FocusSurface(float(z_um[0]), STEP_UM), []
    for index, (x, y, z) in enumerate(zip(x_um.tolist(), y_um.tolist(), z_um.tolist(), strict=True)):
        expected = surface.expect(x, y)
        if index >= known:
            residuals.append((z - expected.z_um) / expected.sd_um)
        surface.add(x, y, z + rng.normal(0, noise_um), noise_um)
    return residuals


class TestItsDeviation:
    @pytest.mark.parametrize("slide", SLIDES, ids=lambda slide: slide.name)
    def test_it_is_that_of_what_fields_turn_out_to_be(self, slide):
        residuals = np.array([residuals_in_sds(slide, seed) for seed in (0, 1)])
        assert 0.4 < np.sqrt(np.mean(residuals**2)) < 1.3
        assert np.mean(np.abs(residuals) > 3) <= 0.03

    def test_it_is_never_that_of_a_certainty(self):
        assert scanned(plane_um, sd_um=0.0).expect(600.0, 300.0).sd_um > 0

    def test_hearsay_neither_raises_nor_lowers_the_trust_in_a_relief(self):
        told, silent = scanned(plane_um), scanned(plane_um)
        for column in range(4):
            told.add(column * STEP_UM + 150.0, 450.0, 14.0, 2.0, hearsay=True)
        assert told.between_sd_um == silent.between_sd_um
        assert len(told.points) == len(silent.points) + 4

    def test_hearsay_is_learnt_from_all_the_same(self):
        surface = scanned(plane_um)
        place = 600.0, 1500.0
        before = surface.expect(*place)
        surface.add(*place, plane_um(*place), 0.2, hearsay=True)
        assert surface.expect(*place).sd_um < before.sd_um
        assert surface.expect(*place).z_um == pytest.approx(plane_um(*place), abs=0.2)


class TestDust:
    @pytest.mark.parametrize("outlier", [7, 12, 14])
    @pytest.mark.parametrize("height_um", [-15.0, 4.0, 15.0])
    def test_one_field_focused_on_it_does_not_spoil_its_neighbours(self, outlier, height_um):
        surface = FocusSurface(0.0, STEP_UM)
        for index, (x_um, y_um) in enumerate(serpentine()):
            surface.add(x_um, y_um, plane_um(x_um, y_um) + (height_um if index == outlier else 0.0), 0.3)
        assert [point.trusted for point in surface.points] == [index != outlier for index in range(15)]
        for column in range(5):
            place = column * STEP_UM, 900.0
            assert surface.expect(*place).z_um == pytest.approx(plane_um(*place), abs=0.4)

    def test_two_fields_focused_on_it_far_from_each_other_bear_nothing_out(self):
        surface = scanned(plane_um, rows=3, columns=9)
        surface.add(0.0, 900.0, plane_um(0.0, 900.0) + 8.0, 0.3)
        surface.add(2400.0, 900.0, plane_um(2400.0, 900.0) + 8.0, 0.3)
        assert [point.trusted for point in surface.points[-2:]] == [False, False]

    def test_a_step_of_the_slide_is_believed_when_a_second_field_bears_it_out(self):
        surface = scanned(plane_um, rows=4, columns=4)
        beyond = [(1200.0, 900.0), (1200.0, 600.0)]
        surface.add(*beyond[0], plane_um(*beyond[0]) + 6.0, 0.2)
        assert not surface.points[-1].trusted
        assert surface.expect(*beyond[1]).z_um == pytest.approx(plane_um(*beyond[1]), abs=1.0)
        surface.add(*beyond[1], plane_um(*beyond[1]) + 6.0, 0.2)
        assert [point.trusted for point in surface.points[-2:]] == [True, True]
        expected = surface.expect(1200.0, 300.0)
        assert expected.z_um == pytest.approx(plane_um(1200.0, 300.0) + 6.0, abs=3.0)  # nearer to the upper side
        assert expected.sd_um > 0.5

    def test_among_the_first_fields_none_is_suspected(self):
        surface = FocusSurface(0.0, STEP_UM)
        for index, z_um in enumerate((0.0, 9.0, -9.0, 3.0)):
            surface.add(index * STEP_UM, 0.0, z_um, 0.2)
        assert all(point.trusted for point in surface.points)


class TestBeyondTheFields:
    def test_it_stays_within_a_step_for_each_pitch_from_the_nearest(self):
        surface = scanned(lambda x_um, y_um: 0.02 * x_um, rows=2, columns=4, largest_step_um=1.0)
        for pitches in (1, 2, 5):
            expected = surface.expect(900.0 + pitches * STEP_UM, 300.0)
            assert expected.z_um == pytest.approx(18.0 + pitches)
            assert expected.sd_um > 4 * pitches  # by as much as it was held back, at least

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(st.tuples(st.floats(0, 2000), st.floats(0, 2000), st.floats(-40, 40)), min_size=1, max_size=12),
        st.floats(-1e4, 1e4),
        st.floats(-1e4, 1e4),
    )
    def test_it_never_extrapolates_wildly(self, fields, x_um, y_um):
        surface = FocusSurface(0.0, STEP_UM, largest_step_um=5.0)
        for field in fields:
            surface.add(*field)
        expected = surface.expect(x_um, y_um)
        away_um = {
            point: math.dist((point.x_um, point.y_um), (x_um, y_um)) for point in surface.points if point.trusted
        }
        nearest_um = min(away_um.values())
        reach_um = 5.0 * max(1.0, nearest_um / STEP_UM) + 1e-6
        nearest = [point for point, one_um in away_um.items() if one_um <= nearest_um + 1e-6]
        assert any(abs(expected.z_um - point.z_um) <= reach_um for point in nearest)
        assert 0 < expected.sd_um < math.inf


class TestCost:
    def test_it_does_not_grow_with_the_fields(self, monkeypatch):
        asked = []
        predict = surface_module._Candidates.predict

        def counted(self, place, *others):
            asked.append(len(place))
            return predict(self, place, *others)

        surface = FocusSurface(10.0, STEP_UM)
        for x_um, y_um in serpentine(rows=8, columns=20):
            surface.add(x_um, y_um, plane_um(x_um, y_um), 0.3, hearsay=x_um > 0)
        monkeypatch.setattr(surface_module._Candidates, "predict", counted)
        surface.expect(3000.0, 2400.0)
        surface.add(3000.0, 2400.0, plane_um(3000.0, 2400.0), 0.3)
        assert set(asked) == {surface_module._NEIGHBOURS + surface_module._LATEST}
        assert len(asked) <= 3

    def test_the_fields_asked_are_the_nearest_and_the_latest(self):
        surface = FocusSurface(0.0, STEP_UM)
        for x_um, y_um in serpentine(rows=8, columns=20):
            surface.add(x_um, y_um, plane_um(x_um, y_um), 0.3, hearsay=True)
        place, z_um, _ = surface._chosen(3000.0, 900.0, 0.0)
        nearest, latest = place[: -surface_module._LATEST], place[-surface_module._LATEST :]
        assert np.hypot(*nearest[:, :2].T).max() <= 4 * STEP_UM
        assert set(latest[:, 1] + 900.0) == {7 * STEP_UM}
        assert z_um == pytest.approx(plane_um(place[:, 0] + 3000.0, place[:, 1] + 900.0))


class TestDrift:
    @staticmethod
    def drifting(um_per_minute, seed=0):
        """Two rows a minute of a tilted slide that drifts, every fifth field of which is measured."""
        rng, surface, time_s = np.random.default_rng(seed), FocusSurface(10.0, STEP_UM), 0.0
        for index, (x_um, y_um) in enumerate(serpentine(rows=20, columns=20)):
            time_s += 1.5
            z_um = plane_um(x_um, y_um) + um_per_minute * time_s / 60
            if index % 5 == 0:
                surface.add(x_um, y_um, z_um + rng.normal(0.0, 0.2), 0.2, time_s=time_s)
        return surface.expect(x_um, y_um, time_s), z_um, surface.expect(0.0, 0.0, time_s), surface.drift()

    @pytest.mark.parametrize("um_per_minute", [-1.0, 0.0, 1.0])
    def test_a_steady_one_is_followed(self, um_per_minute):
        expected, z_um, _, _ = self.drifting(um_per_minute)
        assert expected.z_um == pytest.approx(z_um, abs=3 * expected.sd_um)
        assert expected.sd_um < 0.2

    def test_old_fields_are_told_what_it_came_to_since(self):
        _, _, first, _ = self.drifting(1.0)
        assert first.z_um == pytest.approx(plane_um(0.0, 0.0) + 10.0, abs=3 * first.sd_um)

    @pytest.mark.parametrize("um_per_minute", [-3.0, 0.0, 1.0])
    @pytest.mark.parametrize("seed", range(4))
    def test_its_rate_is_told_with_its_deviation(self, um_per_minute, seed):
        *_, drift = self.drifting(um_per_minute, seed)
        assert drift.um_per_min == pytest.approx(um_per_minute, abs=3 * drift.sd_um_per_min)
        assert 0.1 < drift.sd_um_per_min < 0.25

    @pytest.mark.parametrize("rows", [1, 20])
    def test_nothing_is_told_by_few_fields_or_in_a_short_time(self, rows):
        surface = FocusSurface(10.0, STEP_UM)
        for index, (x_um, y_um) in enumerate(serpentine(rows)):
            surface.add(x_um, y_um, plane_um(x_um, y_um), 0.3, time_s=index * (60.0 if rows == 1 else 0.1))
        assert surface.drift() is None


class TestItsPoints:
    def test_it_remembers_its_fields_in_order(self):
        surface = FocusSurface(0.0)
        surface.add(1.0, 2.0, 3.0, 0.4)
        surface.add(4.0, 5.0, 6.0)
        assert [(p.x_um, p.y_um, p.z_um, p.sd_um) for p in surface.points] == [(1, 2, 3, 0.4), (4, 5, 6, None)]
        assert surface.last_um == 6.0

    @pytest.mark.parametrize("field", [(np.nan, 0, 0), (0, np.inf, 0), (0, 0, np.nan)])
    def test_a_field_without_a_place_is_refused(self, field):
        surface = FocusSurface(0.0)
        with pytest.raises(SettingsError, match="is not a point"):
            surface.add(*field)
        assert surface.points == ()

    @pytest.mark.parametrize("sd_um", [-0.1, np.nan, np.inf])
    def test_an_impossible_deviation_is_refused(self, sd_um):
        with pytest.raises(SettingsError, match="is not 0 µm or more"):
            FocusSurface(0.0).add(0.0, 0.0, 0.0, sd_um)

    @pytest.mark.parametrize(
        "settings",
        [
            {"initial_um": np.nan},
            {"pitch_um": 0.0},
            {"pitch_um": np.inf},
            {"initial_sd_um": -1.0},
            {"initial_sd_um": np.nan},
            {"largest_step_um": -1.0},
        ],
    )
    def test_impossible_settings_are_refused(self, settings):
        with pytest.raises(SettingsError, match="µm"):
            FocusSurface(**({"initial_um": 0.0} | settings))
