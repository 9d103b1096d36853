"""The difference image: the one pre-processing path of training and prediction (paper, section 2.2.3)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

MEDIAN_PX = 3


def difference(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Median-filtered signed difference I2 − I1, filtered again (steps 1 and 2).

    Args:
        first: I1, uint8 (Y, X, 3).
        second: I2, of the same shape.

    Returns:
        int16 (Y, X, 3), −255 … 255: a signed type, since bytes would wrap round.
    """
    smooth_first = cv2.medianBlur(first, MEDIAN_PX).astype(np.int16)
    smooth_second = cv2.medianBlur(second, MEDIAN_PX).astype(np.int16)
    return np.asarray(cv2.medianBlur(smooth_second - smooth_first, MEDIAN_PX), dtype=np.int16)


def standardise(signed_difference: NDArray[np.int16] | NDArray[np.int8]) -> NDArray[np.float32]:
    """Each channel less its mean, over its standard deviation (step 3).

    Args:
        signed_difference: (Y, X, 3), as `difference` returns it.

    Returns:
        float32 (3, Y, X). A flat channel has no standard deviation and becomes zeros.
    """
    channels = np.ascontiguousarray(np.moveaxis(signed_difference, -1, 0), dtype=np.float32)
    channels -= channels.mean(axis=(1, 2), keepdims=True)
    deviation = channels.std(axis=(1, 2), keepdims=True)
    return np.asarray(np.divide(channels, deviation, out=np.zeros_like(channels), where=deviation > 0))
