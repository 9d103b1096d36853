"""What cameras return, as RGB bytes: grey, raw or coloured pixels of any depth."""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from parfocal.devices.base import Frame
from parfocal.errors import InstrumentError

BayerPattern = Literal["", "RGGB", "BGGR", "GRBG", "GBRG"]
"""Colours of a sensor's first four pixels: two of the first row, two of the second."""


def rgb_bytes(image: NDArray[Any], bits: int, bayer: BayerPattern = "") -> Frame:
    """A frame as the rest of the program takes it.

    Args:
        image: (Y, X), or (Y, X, 3) in RGB, uint8 or uint16.
        bits: how many of each value's bits count.
        bayer: pattern of a raw (Y, X) image; empty for a grey one, whose three colours become the same.

    Returns:
        uint8 (Y, X, 3), contiguous.

    Raises:
        InstrumentError: if the image has another shape or type.
    """
    if image.dtype not in (np.uint8, np.uint16) or not (image.ndim == 2 or image.shape[2:] == (3,)):
        raise InstrumentError(
            f"the camera returned {image.dtype} {image.shape}, not uint8 or uint16 (Y, X) or (Y, X, 3)"
        )
    if image.dtype == np.uint16:
        image = np.right_shift(image, max(bits - 8, 0)).clip(0, 255).astype(np.uint8)
    if image.ndim == 3:
        return np.ascontiguousarray(image)
    if bayer:
        code: int = getattr(cv2, f"COLOR_Bayer{bayer}2RGB")
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(image), code), dtype=np.uint8)
    return np.repeat(image[..., np.newaxis], 3, axis=2)
