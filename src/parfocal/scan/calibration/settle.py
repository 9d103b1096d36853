"""Settle time: how long the picture still changes after a move."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from parfocal.devices.base import Frame
from parfocal.devices.microscope import Microscope
from parfocal.merit import green
from parfocal.scan.calibration.progress import OnStep, silent

_QUIET = 1.3  # times the floor: what counts as still
_FRAMES = 8
_MOVES = 6
_MOVE_UM = 30.0


@dataclass(frozen=True)
class Settling:
    """How a picture comes to rest.

    Attributes:
        times_s: when each frame was there after the move had ended, by the instrument's clock, mean over the moves.
        differences: rms difference of each frame from the last, in grey levels, mean over the moves.
        settle_s: from when on the picture is still, in s; None where it never is.
        images: exposures.
    """

    times_s: tuple[float, ...]
    differences: tuple[float, ...]
    settle_s: float | None
    images: int


def settle_time(times_s: Sequence[float], differences: Sequence[float], error: float = 0.0) -> float | None:
    """From when on all differences are within 1.3 times the floor, or three errors of it.

    Args:
        times_s: (N,) rising.
        differences: (N,) from a frame that was taken later than all of them; the floor is the later half's median.
        error: standard deviation of each, which vibration makes.

    Returns:
        0 where the first frame is still already; None where the last one is not.
    """
    floor = float(np.median(differences[len(differences) // 2 :]))
    moving = [index for index, value in enumerate(differences) if value > max(_QUIET * floor, floor + 3 * error)]
    if not moving:
        return 0.0
    return None if moving[-1] == len(differences) - 1 else float(times_s[moving[-1] + 1])


def measure_settling(microscope: Microscope, on_step: OnStep = silent) -> Settling:
    """Take bursts of frames straight after x-y moves. The caller lights the lamp, at a place with detail, in focus.

    What is shorter than an exposure cannot be seen, nor what the stage's driver waits before it says that it stands.

    Args:
        microscope: camera, x-y stage and clock are used.
        on_step: called after each move with how many are done, of how many.
    """
    x_um, y_um = microscope.xy.position_um
    times_s = np.zeros((_MOVES, _FRAMES - 1))
    differences = np.zeros_like(times_s)
    for move in range(_MOVES):
        microscope.xy.move_to(x_um + (_MOVE_UM if move % 2 == 0 else 0.0), y_um)
        began_s = microscope.clock.now_s
        frames: list[Frame] = []
        for index in range(_FRAMES):
            frames.append(microscope.camera.snap())
            if index < _FRAMES - 1:
                times_s[move, index] = microscope.clock.now_s - began_s
        differences[move] = [_difference(frame, frames[-1]) for frame in frames[:-1]]
        on_step(move + 1, _MOVES)
    later = differences[:, differences.shape[1] // 2 :]
    error = float(later.std()) / math.sqrt(_MOVES)
    mean_s, mean = times_s.mean(axis=0).tolist(), differences.mean(axis=0).tolist()
    return Settling(tuple(mean_s), tuple(mean), settle_time(mean_s, mean, error), _MOVES * _FRAMES)


def _difference(frame: Frame, last: Frame) -> float:
    """rms difference of the green channels after a Gaussian of 1 px, flicker taken out."""
    a, b = (cv2.GaussianBlur(green(image), (0, 0), 1.0) for image in (frame, last))
    return float(np.std(a * (b.mean() / max(float(a.mean()), 1e-6)) - b))
