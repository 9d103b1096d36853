"""What needs no motion to speak of: depth of field and Δ from optics, illumination, white balance, noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from parfocal.devices.base import Frame
from parfocal.errors import SettingsError
from parfocal.focus.decision import FLOOR_FACTOR
from parfocal.focus.predictor import Predictor
from parfocal.optics.objective import Objective
from parfocal.scan.calibration.figures import NoiseFigures, OpticsFigures
from parfocal.slide.light.flatfield import MIN_FIELDS, FlatField, apply, fit_flatfield

DELTA_U = 2.5
"""Δ in units of u at which the shipped network, which knows 2.0 to 3.2 u, is in the middle of its range."""

_EMPTY_FACTOR = 1.5  # fixed pattern and shading that noise alone does not hold
_WHITE_QUANTILE = 0.98
_BLOCK_PX = 8
_GRID = (6, 8)
_MIDDLE = 128.0
_SATURATED = 254


def optical_figures(objective: Objective, sensor_pixel_um: float) -> OpticsFigures:
    """Depth of field λn/NA² + n·e/(M·NA) and Δ = 2.5 u for a lens over a sensor with pixels of e µm, unbinned."""
    unit_um = objective.canonical_z_um
    depth_um = objective.depth_of_field_um(sensor_pixel_um)
    return OpticsFigures(depth_of_field_um=depth_um, unit_um=unit_um, delta_um=round(DELTA_U * unit_um, 1))


@dataclass(frozen=True)
class Illumination:
    """How the light falls.

    Attributes:
        flat: relative illumination, float32 (Y, X, 3).
        corner: illumination in the corners over that in the middle, in red, green, blue.
        white: grey level of empty glass in the middle's illumination, red, green, blue.
        gains: factors that make that white, the largest channel's 1.
        saturated: share of all pixels with a channel at the end of its range.
    """

    flat: FlatField
    corner: tuple[float, float, float]
    white: tuple[float, float, float]
    gains: tuple[float, float, float]
    saturated: float

    def grid(self) -> list[list[list[float]]]:
        """The relative illumination on 6 × 8 places, [row][column][channel]."""
        small = cv2.resize(self.flat, _GRID[::-1], interpolation=cv2.INTER_AREA)
        return [[[round(float(v), 4) for v in pixel] for pixel in row] for row in small]


def measure_illumination(frames: Sequence[Frame]) -> Illumination:
    """Illumination and white from frames uint8 (Y, X, 3) of different places; the brightest parts count as empty glass.

    Raises:
        SettingsError: if there are fewer than nine frames: specimen and illumination cannot be told apart.
    """
    if len(frames) < MIN_FIELDS:
        raise SettingsError(f"{len(frames)} frames are fewer than the {MIN_FIELDS} that illumination is told from")
    flat = fit_flatfield(frames)
    whites = np.max([_bright(apply(frame, flat)) for frame in frames], axis=0)
    grid = cv2.resize(flat, _GRID[::-1], interpolation=cv2.INTER_AREA)
    corners = np.mean([grid[0, 0], grid[0, -1], grid[-1, 0], grid[-1, -1]], axis=0)
    middle = grid[_GRID[0] // 2 - 1 : _GRID[0] // 2 + 1, _GRID[1] // 2 - 1 : _GRID[1] // 2 + 1].mean(axis=(0, 1))
    saturated = float(np.mean([np.mean(frame.max(axis=2) >= _SATURATED) for frame in frames]))
    return Illumination(flat, _three(corners / middle), _three(whites), _three(whites.max() / whites), saturated)


def _bright(frame: Frame) -> NDArray[np.float64]:
    """The level that 2 % of the blocks of 8 px exceed, for each channel; never 0."""
    size = (max(1, frame.shape[1] // _BLOCK_PX), max(1, frame.shape[0] // _BLOCK_PX))
    blocks = cv2.resize(frame, size, interpolation=cv2.INTER_AREA).reshape(-1, 3).astype(np.float64)
    return np.maximum(np.quantile(blocks, _WHITE_QUANTILE, axis=0), 1.0)


def _three(values: NDArray[np.floating]) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def measure_noise(pairs: Sequence[tuple[Frame, Frame]], predictor: Predictor) -> NoiseFigures:
    """Noise from pairs of frames uint8 (Y, X, 3) of one place, so far from focus that vibration does not matter.

    The empty level is what the predictor's own measure of contrast makes of a picture of that noise alone, with half
    as much to spare: no empty glass is needed.

    Raises:
        SettingsError: if there is no pair.
    """
    if not pairs:
        raise SettingsError("noise needs at least one pair of frames")
    noises = [(first.astype(np.float64) - second) / np.sqrt(2) for first, second in pairs]
    noises = [noise - noise.mean(axis=(0, 1)) for noise in noises]
    pictures = [np.clip(np.rint(noise + _MIDDLE), 0, 255).astype(np.uint8) for noise in noises]
    floor = max(predictor.measure(first, second).difference_sd for first, second in pairs)
    empty = max(predictor.measure(picture, picture).image_sd for picture in pictures)
    noise_sd = float(np.mean([noise.std(axis=(0, 1)).max() for noise in noises]))
    return NoiseFigures(noise_sd=noise_sd, difference_floor=FLOOR_FACTOR * floor, empty_sd=_EMPTY_FACTOR * empty)
