"""Grey, raw and coloured pixels of any depth become RGB bytes."""

import numpy as np
import pytest

from parfocal.devices.pixels import rgb_bytes
from parfocal.errors import InstrumentError

RED = {"RGGB": (0, 0), "BGGR": (1, 1), "GRBG": (0, 1), "GBRG": (1, 0)}


def test_grey_becomes_three_equal_colours():
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert (rgb_bytes(grey, 8) == grey[..., np.newaxis]).all()


@pytest.mark.parametrize(("bits", "white"), [(10, 1023), (12, 4095), (16, 65535)])
def test_the_highest_value_of_any_depth_is_white(bits, white):
    frame = rgb_bytes(np.full((4, 4, 3), white, dtype=np.uint16), bits)
    assert frame.dtype == np.uint8
    assert (frame == 255).all()


def test_more_than_the_depth_promises_is_white_and_not_dark():
    assert (rgb_bytes(np.full((4, 4), 1024, dtype=np.uint16), 10) == 255).all()


@pytest.mark.parametrize("pattern", list(RED))
@pytest.mark.parametrize("deep", [False, True])
def test_red_light_on_a_colour_sensor_is_red(pattern, deep):
    raw = np.zeros((8, 8), dtype=np.uint16 if deep else np.uint8)
    y, x = RED[pattern]
    raw[y::2, x::2] = 4000 if deep else 250
    red, green, blue = rgb_bytes(raw, 12 if deep else 8, pattern)[2:-2, 2:-2].reshape(-1, 3).T
    assert red.min() > 240
    assert green.max() == blue.max() == 0


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.float32), np.zeros((4, 4, 2), np.uint8), np.zeros(4, np.uint8)])
def test_other_arrays_are_refused(image):
    with pytest.raises(InstrumentError, match="the camera returned"):
        rgb_bytes(image, 8)
