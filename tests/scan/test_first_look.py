"""The first look: words about light, and directions of the stage from where the picture goes."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from drivers_of_tests import CrookedXY
from parfocal.config import open_microscope
from parfocal.devices.axes import AxisDirections, DirectedXY
from parfocal.errors import InstrumentError
from parfocal.scan.first_look import directions_of, judge_light, measure_directions

NOISE = np.random.default_rng(0).normal(0, 10, (60, 80, 3))


def picture(level, noise=NOISE):
    return np.clip(level + noise, 0, 255).astype(np.uint8)


def test_a_bright_picture_with_something_to_see_is_all_right():
    assert judge_light(picture(180)) == []


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (np.zeros((60, 80, 3), dtype=np.uint8), ["is black"]),
        (picture(30), ["is dim"]),
        (picture(250), ["of the pixels are saturated"]),
        (picture(180, 0 * NOISE), ["hardly anything to see"]),
        (picture(20, 0 * NOISE), ["is dim", "hardly anything to see"]),
    ],
)
def test_what_is_wrong_with_the_light_is_said_in_words(frame, words):
    said = judge_light(frame)
    assert len(said) == len(words)
    assert all(word in sentence for word, sentence in zip(words, said, strict=True))


@pytest.mark.parametrize(
    ("invert", "swap"),
    [
        ((), False),
        (("y",), True),
        *(pytest.param(*other, marks=pytest.mark.slow) for other in ((("x",), False), (("x", "y"), True))),
    ],
)
def test_directions_are_found_so_that_declaring_them_puts_the_axes_right(invert, swap, small_toml):
    toml = small_toml("frame_shape = [240, 320]", "frame_shape = [480, 640]")
    microscope = open_microscope(toml, "blood-smear", seed=1).microscope
    microscope.lamp.on()
    true = AxisDirections(frozenset(invert), swap)
    crooked = CrookedXY(microscope.xy, true)
    found = measure_directions(replace(microscope, xy=crooked))
    assert (found.invert, found.swap_xy) == (invert, swap)
    assert found.pixel_size_um == pytest.approx(0.345, rel=0.12)  # the stage is off by 2 µm a move
    put_right = DirectedXY(crooked, AxisDirections(frozenset(found.invert), found.swap_xy))
    put_right.move_to(50.0, -20.0)
    assert microscope.xy.position_um == pytest.approx((50.0, -20.0))


@pytest.mark.parametrize("signs", list(itertools.product((-1, 1), repeat=2)))
def test_a_camera_that_is_turned_a_little_is_told_of_and_one_that_is_turned_far_refused(signs):
    def turned(degrees):
        angle = np.radians(degrees)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        return directions_of(2.0 * turn @ np.diag(signs))

    found = turned(5.0)
    assert found.invert == tuple(axis for axis, sign in zip("xy", signs, strict=True) if sign < 0)
    assert abs(found.turned_deg) == pytest.approx(5.0)
    assert found.pixel_size_um == pytest.approx(0.5)
    with pytest.raises(InstrumentError, match="turned by 30° or more"):
        turned(40.0)


def test_axes_of_unlike_scale_are_told_of():
    with pytest.raises(InstrumentError, match="are steps per µm right for both"):
        directions_of(np.diag([2.0, 3.0]))


def test_a_picture_that_does_not_follow_the_stage_is_told_of(small_toml):
    microscope = open_microscope(small_toml(), "blood-smear", seed=1).microscope
    microscope.lamp.on()
    still = microscope.camera.snap()
    microscope.camera.snap = still.copy
    with pytest.raises(InstrumentError, match="does not follow the device's x axis"):
        measure_directions(microscope)
