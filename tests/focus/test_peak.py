import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parfocal.focus.peak import central_sharpness, find_peak, peak_by_bend
from parfocal.merit import tenengrad

RNG = np.random.default_rng(5)


class TestFindPeak:
    @given(st.floats(-0.9, 0.9), st.floats(0.1, 2), st.floats(-5, 5), st.floats(0.3, 2), st.floats(0.3, 2))
    def test_the_vertex_of_a_parabola_is_found_whatever_the_spacing(self, peak_um, bend, level, below_um, above_um):
        z_um = [-below_um, 0.0, above_um]
        found = find_peak(z_um, [level - bend * (z - peak_um) ** 2 for z in z_um])
        assert found.z_um == pytest.approx(min(max(peak_um, -below_um), above_um), abs=1e-6)

    def test_the_order_of_the_planes_does_not_matter(self):
        assert find_peak([1.0, -1.0, 0.0], [0.1, 0.3, 0.9]).z_um == pytest.approx(
            find_peak([-1.0, 0.0, 1.0], [0.3, 0.9, 0.1]).z_um
        )

    def test_it_agrees_with_a_fit_by_numpy(self):
        z_um, score = [-1.2, 0.1, 0.9], [3.0, 3.4, 3.1]
        a, b, _ = np.polyfit(z_um, score, 2)
        assert find_peak(z_um, score).z_um == pytest.approx(-b / (2 * a))

    def test_a_curve_that_opens_upwards_has_no_peak(self):
        assert find_peak([-1.0, 0.0, 1.0], [1.0, 0.5, 1.0]) is None
        assert find_peak([-1.0, 0.0, 1.0], [0.0, 0.0, 0.0]) is None

    def test_the_error_is_what_noise_of_the_scores_makes_of_the_peak(self):
        z_um, score = np.array([-1.0, 0.2, 1.3]), np.array([2.0, 2.5, 2.2])
        found = find_peak(z_um, score)
        noisy = [find_peak(z_um, score + RNG.normal(0, 0.012, 3)).z_um for _ in range(4000)]
        assert found.error_um == pytest.approx(np.std(noisy), rel=0.1)

    def test_a_flat_curve_knows_its_peak_badly(self):
        sharp, flat = ([0.5 * bend * -(z**2) for z in (-1, 0, 1)] for bend in (0.5, 0.02))
        z_um = [-1.0, 0.0, 1.0]
        assert find_peak(z_um, flat).error_um == pytest.approx(25 * find_peak(z_um, sharp).error_um)


class TestPeakByBend:
    BEND = 0.1

    def falling(self, z_um: list[float], peak_um: float, bend: float = BEND) -> list[float]:
        return [2.0 - math.log1p(bend * (z - peak_um) ** 2) for z in z_um]

    def believe(self, z_um, peak_um, expected_um=0.0, sd_um=0.5, arrival_um=0.1):
        return peak_by_bend(z_um, self.falling(z_um, peak_um), self.BEND, arrival_um, expected_um, sd_um)

    @given(st.floats(-0.5, 0.5))
    def test_two_planes_tell_the_peak_between_them(self, peak_um):
        assert self.believe([-0.5, 0.5], peak_um, arrival_um=0.01).mean_um == pytest.approx(peak_um, abs=0.12)

    def test_it_is_the_mean_of_the_posterior_by_brute_force(self):
        z_um, draws = np.array([-0.4, 0.3]), 400_000  # of the first frame the place is exact
        rng = np.random.default_rng(0)
        peaks = rng.normal(0.0, math.hypot(0.3, 0.1), draws)
        bends = self.BEND * (1 + 0.12 * rng.normal(size=draws))
        stood = z_um[:, None] + rng.normal(0.0, 0.1, (2, draws)) * [[0.0], [math.sqrt(2)]]
        seen = -np.log1p(bends * (stood - peaks) ** 2) + rng.normal(0.0, 0.012, (2, draws))
        wanted = np.diff(self.falling(list(z_um), 0.35))[0]
        like = np.abs(np.diff(seen, axis=0)[0] - wanted) < 0.002
        belief = self.believe(list(z_um), 0.35, sd_um=0.3)
        assert belief.mean_um == pytest.approx(float(peaks[like].mean()), abs=0.05)
        assert belief.sd_um == pytest.approx(float(peaks[like].std()), rel=0.35)  # its prior has tails besides

    def test_a_third_plane_makes_it_surer(self):
        two, three = self.believe([-0.5, 0.5], 1.2), self.believe([-0.5, 0.5, 1.2], 1.2)
        assert three.sd_um < two.sd_um
        assert three.mean_um == pytest.approx(1.2, abs=0.3)

    def test_farther_from_the_peak_an_error_of_arrival_matters_more(self):
        near, far = (self.believe([d - 0.4, d + 0.4], 0.0, sd_um=1.0, arrival_um=0.2).sd_um for d in (0.0, 1.5))
        assert far > 1.5 * near

    def test_an_expectation_that_was_wrong_is_overruled(self):
        assert self.believe([-0.5, 0.5, 2.4], 2.0, sd_um=0.4).mean_um == pytest.approx(2.0, abs=0.5)

    def test_it_says_how_probably_a_frame_lies_beyond_a_reach(self):
        belief = self.believe([-0.4, 0.4], 0.0, sd_um=0.3, arrival_um=0.1)
        peaks = np.random.default_rng(1).choice(belief.z_um, 200_000, p=belief.share)
        assert belief.farther_than(0.5, 0.4) == pytest.approx(float((np.abs(peaks - 0.4) > 0.5).mean()), abs=0.005)
        assert belief.farther_than(99.0, 0.4) == 0.0


class TestCentralSharpness:
    def test_it_is_the_logarithm_of_tenengrad_over_the_squared_mean_of_the_centre(self):
        frame = RNG.integers(0, 255, (600, 700, 3), dtype=np.uint8)
        centre = frame[76:524, 126:574]
        expected = math.log(tenengrad(centre) / centre[..., 1].mean() ** 2)
        assert central_sharpness(frame, 1.0) == pytest.approx(expected)

    def test_flicker_of_the_lamp_does_not_count(self):
        frame = RNG.integers(100, 200, (448, 448, 3)).astype(np.float64)
        bright, dim = ((frame * light).round().astype(np.uint8) for light in (1.0, 0.9))
        assert central_sharpness(dim, 1.0) == pytest.approx(central_sharpness(bright, 1.0), abs=1e-3)

    def test_what_lies_outside_the_centre_does_not_count(self):
        frame = np.full((600, 700, 3), 200, dtype=np.uint8)
        frame[200:400, 300:400, 1] = 100
        before = central_sharpness(frame, 1.0)
        frame[:70] = RNG.integers(0, 255, (70, 700, 3), dtype=np.uint8)
        assert central_sharpness(frame, 1.0) == before

    def test_finer_pixels_are_brought_to_the_canonical_scale(self):
        coarse = cv2.GaussianBlur(RNG.integers(0, 255, (448, 448, 3), dtype=np.uint8), (0, 0), 3.0)
        fine = cv2.resize(coarse, (896, 896), interpolation=cv2.INTER_CUBIC)
        assert central_sharpness(fine, 0.5) == pytest.approx(central_sharpness(coarse, 1.0), abs=0.02)

    def test_a_small_or_black_frame_has_a_sharpness_too(self):
        assert math.isfinite(central_sharpness(np.zeros((16, 16, 3), dtype=np.uint8), 1.0))
