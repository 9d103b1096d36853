"""Flat field from the scan's own fields: no empty calibration slide is needed.

Where fields are empty, what most of them show is the illumination. Elsewhere stain only takes light away, so what the
brightest places of many fields have in common is the illumination. Per channel, the logarithm of a polynomial surface
is fitted to block means of all fields by quantile regression: the surface that nine tenths of the blocks lie below.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.records import FieldRecord, Frame

FlatField = NDArray[np.float32]
"""Relative illumination: float32 (Y, X, 3), mean 1 in each channel."""

MIN_FIELDS = 9
"""With fewer fields the specimen cannot be told from the illumination, and nothing is corrected."""

_BLOCKS = 24  # blocks along the longer side of a frame
_QUANTILE = 0.9
_QUARTIC_FROM = 64  # a quartic follows the tissue of fewer fields; vignetting is a quadratic to half a per cent
_DARKEST = 0.2  # no correction brightens by more than 1 / 0.2
_ITERATIONS = 25


_FEWEST_EMPTY = 3  # of which dust on one of them is outvoted


def estimate_flatfield(folder: FieldsFolder, max_fields: int = 64) -> FlatField:
    """Estimate the relative illumination from the fields of a scan.

    Args:
        folder: the scan.
        max_fields: at most so many fields are read, spread evenly over the scan.

    Returns:
        float32 (Y, X, 3), mean 1 in each channel, at least 0.2; from the empty fields where there are 3 or more; all
        ones with fewer than `MIN_FIELDS` fields of which fewer than 3 are empty.

    Raises:
        FileError: if a frame cannot be read.
    """
    empty = [record for record in folder.records if record.verdict == "empty"]
    if len(empty) >= _FEWEST_EMPTY:
        return fit_empty(folder.frame(record) for record in spread(empty, max_fields))
    if min(len(folder.records), max_fields) < MIN_FIELDS:
        return np.ones((*folder.header.frame_shape, 3), np.float32)
    return fit_flatfield(folder.frame(record) for record in spread(folder.records, max_fields))


def spread(records: list[FieldRecord], most: int) -> list[FieldRecord]:
    """At most so many of the records, evenly from first to last."""
    places = np.linspace(0, len(records) - 1, min(len(records), most))
    return [records[i] for i in np.unique(places.round().astype(int))]


def fit_empty(frames: Iterable[Frame]) -> FlatField:
    """Fit the relative illumination to frames that show glass: a polynomial through their median.

    Args:
        frames: uint8 (Y, X, 3) of one shape, one or more; a few may hold dust.

    Returns:
        float32 (Y, X, 3), mean 1 in each channel, at least 0.2.
    """
    shape, means = (0, 0), []
    for frame in frames:
        shape = (frame.shape[0], frame.shape[1])
        blocks = np.log(np.maximum(_block_means(frame), 1.0))
        means.append(blocks - np.median(blocks, axis=(0, 1)))
    middle = np.median(means, axis=0)
    terms = np.stack([_project(middle[..., channel]) for channel in range(3)], axis=1)
    return polynomial_flat(terms, shape)


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


def polynomial_terms(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """(M, terms) of a quartic in x and y at places (M, 2) from -1 to 1 over a frame; without the constant."""
    along = [np.polynomial.legendre.legvander(places[:, axis], 4) for axis in (0, 1)]
    return np.stack([along[1][:, i] * along[0][:, j] for i, j in _orders(4)[1:]], axis=1)


def polynomial_flat(terms: NDArray[np.float64], shape: tuple[int, int]) -> FlatField:
    """The flat field whose logarithm is a quartic.

    Args:
        terms: (terms, 3), of each channel.
        shape: (Y, X) of a frame in px.

    Returns:
        float32 (Y, X, 3), mean 1 in each channel, at least 0.2.
    """
    rows, columns = _legendre(shape[0], 4), _legendre(shape[1], 4)
    flat = np.empty((*shape, 3), np.float32)
    for channel in range(3):
        surface = np.zeros((5, 5))
        surface[tuple(np.transpose(_orders(4)[1:]))] = terms[:, channel]
        flat[..., channel] = np.exp(rows @ surface @ columns.T)
    flat /= flat.mean(axis=(0, 1))
    return np.maximum(flat, np.float32(_DARKEST))


def log_polynomial(flat: FlatField, channel: int) -> NDArray[np.float64]:
    """The terms of the quartic nearest to the logarithm of one channel of a flat field."""
    return _project(np.log(_block_means(flat[..., channel : channel + 1])[..., 0]))


def _project(values: NDArray[np.float64]) -> NDArray[np.float64]:
    height, width = values.shape
    y, x = np.meshgrid(
        (np.arange(height) + 0.5) / height * 2 - 1, (np.arange(width) + 0.5) / width * 2 - 1, indexing="ij"
    )
    design = polynomial_terms(np.stack([x.ravel(), y.ravel()], axis=1))
    design = np.hstack([design, np.ones((len(design), 1))])
    return np.asarray(np.linalg.lstsq(design, values.ravel(), rcond=None)[0][:-1], np.float64)


def apply(frame: Frame, flat: FlatField) -> Frame:
    """Divide a frame by the flat field.

    Args:
        frame: uint8 (Y, X, 3) RGB.
        flat: float32 (Y, X, 3), as `estimate_flatfield` returns it.

    Returns:
        uint8 (Y, X, 3), rounded and clipped to 0…255.
    """
    return np.asarray(cv2.divide(frame, flat, dtype=cv2.CV_8U), np.uint8)


def _block_means(frame: NDArray[Any]) -> NDArray[np.float64]:
    height, width = frame.shape[:2]
    block = max(1, max(height, width) // _BLOCKS)
    size = (max(1, width // block), max(1, height // block))
    means = cv2.resize(frame, size, interpolation=cv2.INTER_AREA).astype(np.float64)
    return np.asarray(means.reshape(*size[::-1], -1))


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
