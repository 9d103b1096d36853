"""Which of two frames is sharper in what both show, wherever the stage truly put them."""

import math
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from parfocal.focus.field import eyes_of
from parfocal.focus.peak import central_sharpness
from parfocal.focus.sharpness import FrameSharpness

SHAPE = (240, 320)
STEP_PX = (260, 190)  # 60 and 50 px shared
SHARPNESS = FrameSharpness(1.0, border=0.3)


def specimen(seed=0, detail_px=1.5):
    """A picture larger than what any frame shows, grey levels about 128."""
    rng = np.random.default_rng(seed)
    plane = cv2.GaussianBlur(rng.normal(size=(800, 1000)).astype(np.float32), (0, 0), detail_px)
    return 128 + 30 * plane / plane.std()


def view(picture, left, top, blur_px=0.0, light=1.0):
    """A frame of the picture whose corner lies at (left, top)."""
    seen = picture if blur_px == 0 else cv2.GaussianBlur(picture, (0, 0), blur_px)
    crop = light * seen[top : top + SHAPE[0], left : left + SHAPE[1]]
    return np.repeat(np.clip(np.rint(crop), 0, 255).astype(np.uint8)[..., None], 3, axis=-1)


def compared(away_px, blur_px=0.0, others_blur_px=0.0, told_px=None, picture=None, sharpness=SHARPNESS, light=1.0):
    """The comparison of a frame with one whose corner lies `away_px` (x, y) off, while the stage says `told_px`."""
    picture = specimen() if picture is None else picture
    mine = view(picture, 350, 300, blur_px)
    theirs = view(picture, 350 + away_px[0], 300 + away_px[1], others_blur_px, light)
    return sharpness.compare(sharpness.edges(mine), sharpness.edges(theirs), told_px or away_px)


SIDES = [(STEP_PX[0], 0), (-STEP_PX[0], 0), (0, STEP_PX[1]), (0, -STEP_PX[1])]


class TestComparison:
    @pytest.mark.parametrize("away_px", SIDES)
    def test_two_views_equally_sharp_differ_by_nothing(self, away_px):
        assert compared(away_px) == pytest.approx(0.0, abs=0.01)

    @pytest.mark.parametrize("away_px", SIDES)
    def test_it_is_above_zero_where_the_frame_is_sharper_than_the_other(self, away_px):
        assert compared(away_px, others_blur_px=1.5) > 0.2

    @pytest.mark.parametrize("away_px", SIDES)
    def test_it_is_below_zero_where_the_frame_is_blurred(self, away_px):
        assert compared(away_px, blur_px=1.5) < -0.2

    def test_turned_round_it_changes_its_sign(self):
        one = compared((STEP_PX[0], 0), blur_px=1.0)
        other = compared((-STEP_PX[0], 0), others_blur_px=1.0)
        assert one == pytest.approx(-other, abs=0.15)

    @pytest.mark.parametrize("error_px", [(7, -5), (-12, 3), (0, 15), (18, 0)])
    @pytest.mark.parametrize("side", SIDES)
    def test_views_are_registered_where_the_stage_erred(self, side, error_px):
        truly = side[0] + error_px[0], side[1] + error_px[1]
        assert compared(truly, told_px=side) == pytest.approx(0.0, abs=0.02)
        assert compared(truly, others_blur_px=1.0, told_px=side) > 0.2

    def test_views_are_registered_even_where_one_is_blurred_a_lot(self):
        errors_px = np.random.default_rng(0).integers(-15, 16, (24, 2)).tolist()
        told = []
        for seed, error_px in enumerate(errors_px):
            side = SIDES[seed % 4]
            truly = side[0] + error_px[0], side[1] + error_px[1]
            told.append(compared(truly, others_blur_px=2.0, told_px=side, picture=specimen(seed)))
        assert sum(one is not None and one > 0.5 for one in told) >= 23

    def test_flicker_of_the_lamp_cancels(self):
        assert compared((STEP_PX[0], 0), light=0.9) == pytest.approx(0.0, abs=0.02)

    def test_it_is_the_same_whatever_the_specimen_shows_elsewhere(self):
        picture = specimen()
        elsewhere = picture.copy()
        elsewhere[:, 350 : 350 + STEP_PX[0] - 40] = 128
        assert compared((STEP_PX[0], 0), picture=elsewhere) == pytest.approx(
            compared((STEP_PX[0], 0), picture=picture), abs=0.02
        )


class TestNothingInCommon:
    def test_frames_too_far_from_each_other_say_nothing(self):
        assert compared((STEP_PX[0] + 50, 0)) is None

    def test_two_different_specimens_say_nothing(self):
        mine = view(specimen(1), 350, 300)
        theirs = view(specimen(2), 350 + STEP_PX[0], 300)
        assert SHARPNESS.compare(SHARPNESS.edges(mine), SHARPNESS.edges(theirs), (STEP_PX[0], 0)) is None

    def test_empty_glass_says_nothing(self):
        rng = np.random.default_rng(0)
        first, second = (rng.normal(230, 2, (*SHAPE, 3)).round().astype(np.uint8) for _ in range(2))
        assert SHARPNESS.compare(SHARPNESS.edges(first), SHARPNESS.edges(second), (STEP_PX[0], 0)) is None

    def test_a_black_frame_says_nothing_and_breaks_nothing(self):
        black = np.zeros((*SHAPE, 3), np.uint8)
        mine = view(specimen(), 350, 300)
        for one, other in ((black, mine), (mine, black), (black, black)):
            assert SHARPNESS.compare(SHARPNESS.edges(one), SHARPNESS.edges(other), (STEP_PX[0], 0)) is None

    def test_a_stage_that_erred_by_more_than_is_searched_is_not_believed(self):
        truly = STEP_PX[0] - 45, 0
        assert compared(truly, others_blur_px=1.5, told_px=(STEP_PX[0], 0)) is None


class TestEdges:
    def test_they_are_the_green_borders_and_far_smaller_than_the_frame(self):
        frame = view(specimen(), 350, 300)
        frame[..., 0] = 0
        edges = FrameSharpness(1.0, border=0.1).edges(frame)
        assert edges.shape == SHAPE
        assert [part.shape for part in (edges.left, edges.right)] == [(240, 32)] * 2
        assert [part.shape for part in (edges.top, edges.bottom)] == [(24, 320)] * 2
        assert np.array_equal(edges.right, frame[:, -32:, 1])
        held = sum(part.nbytes for part in (edges.left, edges.right, edges.top, edges.bottom))
        assert held < frame.nbytes / 7

    def test_they_do_not_change_with_the_frame(self):
        frame = view(specimen(), 350, 300)
        edges = SHARPNESS.edges(frame)
        before = edges.left.copy()
        frame[:] = 0
        assert np.array_equal(edges.left, before)


class TestOfOneFrame:
    def test_of_the_centre_it_is_what_defines_best_focus(self):
        frame = view(specimen(), 350, 300)
        assert FrameSharpness(1.3).centre(frame) == central_sharpness(frame, 1.3)

    @pytest.mark.parametrize("score", ["centre", "whole"])
    def test_it_falls_with_blur(self, score):
        frames = [view(specimen(), 350, 300, blur_px) for blur_px in (0.0, 0.7, 1.5, 3.0)]
        scores = [getattr(SHARPNESS, score)(frame) for frame in frames]
        assert scores == sorted(scores, reverse=True)

    def test_of_the_centre_it_is_logarithmic_so_that_light_cancels(self):
        dark, bright = (view(specimen(), 350, 300, light=light) for light in (0.6, 1.0))
        assert SHARPNESS.centre(dark) == pytest.approx(SHARPNESS.centre(bright), abs=0.02)
        assert math.isfinite(SHARPNESS.centre(np.zeros((*SHAPE, 3), np.uint8)))


def test_the_eyes_of_a_microscope_look_at_its_scale():
    camera, objective = SimpleNamespace(pixel_size_um=0.69), SimpleNamespace(canonical_pixel_um=0.345)
    predictor = object()
    eyes = eyes_of(SimpleNamespace(camera=camera, objective=objective), predictor)
    frame = view(specimen(), 350, 300)
    assert eyes.predictor is predictor
    assert eyes.sharpness.centre(frame) == central_sharpness(frame, 2.0)
