"""Flat field from the scan's own fields: no empty calibration slide is needed.

Stain only takes light away, so what the brightest places of many fields have in common is the illumination. Per
channel, the logarithm of a polynomial surface is fitted to block means of all fields by quantile regression: the
surface that nine tenths of the blocks lie below.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from parfocal.slide.fields import FieldsFolder, Frame

FlatField = NDArray[np.float32]
"""Relative illumination: float32 (Y, X, 3), mean 1 in each channel."""

MIN_FIELDS = 9
"""With fewer fields the specimen cannot be told from the illumination, and nothing is corrected."""

_BLOCKS = 24  # blocks along the longer side of a frame
_QUANTILE = 0.9
_QUARTIC_FROM = 64  # a quartic follows the tissue of fewer fields; vignetting is a quadratic to half a per cent
_DARKEST = 0.2  # no correction brightens by more than 1 / 0.2
_ITERATIONS = 25


def estimate_flatfield(folder: FieldsFolder, max_fields: int = 64) -> FlatField:
    """Estimate the relative illumination from the fields of a scan.

    Args:
        folder: the scan.
        max_fields: at most so many fields are read, spread evenly over the scan.

    Returns:
        float32 (Y, X, 3), mean 1 in each channel, at least 0.2; all ones with fewer than `MIN_FIELDS` fields.

    Raises:
        FileError: if a frame cannot be read.
    """
    count = min(len(folder.records), max_fields)
    if count < MIN_FIELDS:
        return np.ones((*folder.header.frame_shape, 3), np.float32)
    chosen = np.unique(np.linspace(0, len(folder.records) - 1, count).round().astype(int))
    return fit_flatfield(folder.frame(folder.records[i]) for i in chosen)


def fit_flatfield(frames: Iterable[Frame]) -> FlatField:
    """Fit the relative illumination to frames of different places.

    Args:
        frames: uint8 (Y, X, 3) of one shape, one or more; below `MIN_FIELDS` of them the specimen is mistaken for it.

    Returns:
        float32 (Y, X, 3), mean 1 in each channel, at least 0.2.
    """
    height = width = 0
    means = []
    for frame in frames:
        height, width = frame.shape[:2]
        means.append(_block_means(frame))
    blocks = np.stack(means)  # (N, by, bx, 3)
    degree = 4 if len(blocks) >= _QUARTIC_FROM else 2
    rows, columns = _legendre(blocks.shape[1], degree), _legendre(blocks.shape[2], degree)
    terms = [np.outer(rows[:, i], columns[:, j]).ravel() for i, j in _orders(degree)]
    design = np.tile(np.stack(terms, axis=1), (len(blocks), 1))  # (N·by·bx, terms)
    flat = np.empty((height, width, 3), np.float32)
    for channel in range(3):
        levels = np.log(np.maximum(blocks[..., channel].reshape(-1), 1.0))
        surface = np.zeros((degree + 1, degree + 1))
        surface[tuple(np.transpose(_orders(degree)))] = _quantile_fit(design, levels, _QUANTILE)
        flat[..., channel] = np.exp(_legendre(height, degree) @ surface @ _legendre(width, degree).T)
    flat /= flat.mean(axis=(0, 1))
    return np.maximum(flat, np.float32(_DARKEST))


def apply(frame: Frame, flat: FlatField) -> Frame:
    """Divide a frame by the flat field.

    Args:
        frame: uint8 (Y, X, 3) RGB.
        flat: float32 (Y, X, 3), as `estimate_flatfield` returns it.

    Returns:
        uint8 (Y, X, 3), rounded and clipped to 0…255.
    """
    return np.asarray(cv2.divide(frame, flat, dtype=cv2.CV_8U), np.uint8)


def _block_means(frame: Frame) -> NDArray[np.float64]:
    height, width = frame.shape[:2]
    block = max(1, max(height, width) // _BLOCKS)
    size = (max(1, width // block), max(1, height // block))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA).astype(np.float64)


def _legendre(length: int, degree: int) -> NDArray[np.float64]:
    """Legendre polynomials over an axis at its pixel centres: (length, degree + 1)."""
    centres = (np.arange(length) + 0.5) / length * 2 - 1
    return np.asarray(np.polynomial.legendre.legvander(centres, degree), np.float64)


def _orders(degree: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]


def _quantile_fit(design: NDArray[np.float64], values: NDArray[np.float64], quantile: float) -> NDArray[np.float64]:
    """Coefficients of the surface with the fraction `quantile` of the values below it (pinball loss, by IRLS)."""
    weights: NDArray[np.float64] = np.ones(len(values))
    ridge = 1e-6 * len(values) * np.eye(design.shape[1])
    coefficients: NDArray[np.float64] = np.zeros(design.shape[1])
    for _ in range(_ITERATIONS):
        weighted = design * weights[:, None]
        coefficients = np.asarray(np.linalg.solve(design.T @ weighted + ridge, weighted.T @ values))
        residual = values - design @ coefficients
        # the floor of 0.2 % keeps the weights finite, and is far below any shading that shows
        sides = np.where(residual > 0, quantile, 1 - quantile)
        weights = np.asarray(sides / np.maximum(np.abs(residual), 2e-3), np.float64)
        weights = weights / weights.mean()
    return coefficients
