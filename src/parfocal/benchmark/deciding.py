"""How long the decision for one field takes on one thread, and how that grows with the fields already known."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from parfocal.benchmark.policies import Bench
from parfocal.devices.approach import lamp_lit
from parfocal.devices.microscope import Microscope
from parfocal.focus.kept import KeptFrames
from parfocal.focus.predictor import Predictor
from parfocal.focus.sharpness import FrameSharpness
from parfocal.focus.surface import FocusSurface

Frames = NDArray[np.uint8]

_PITCH_UM = 288.0
_OVERLAP = 0.1


@dataclass(frozen=True)
class DecisionTimes:
    """Medians of processor time on one thread in ms, with `known` measured fields.

    Attributes:
        known: fields whose focus is known to the surface.
        network_ms: one pair of frames through the network, preparation included.
        neighbours_ms: a frame judged by two neighbours, registration of the strips included.
        surface_ms: a measurement added, and the next field's focus expected.
    """

    known: int
    network_ms: float
    neighbours_ms: float
    surface_ms: float

    @property
    def total_ms(self) -> float:
        """The whole decision."""
        return self.network_ms + self.neighbours_ms + self.surface_ms


def take_pair(microscope: Microscope, delta_um: float) -> Frames:
    """Two frames, uint8 (2, Y, X, 3), the second delta_um above where the stage stands. The lamp is off afterwards."""
    with lamp_lit(microscope.lamp):
        first = microscope.camera.snap()
        microscope.z.move_to(microscope.z.position_um + delta_um)
        return np.stack([first, microscope.camera.snap()])


def time_decisions(bench: Bench, predictor: Predictor, frames: Frames, rounds: int = 15) -> list[DecisionTimes]:
    """Time the parts of a decision with 20, 200 and 2,000 fields known.

    Args:
        bench: the instrument.
        predictor: its network.
        frames: uint8 (2, Y, X, 3), a pair.
        rounds: how often each.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        return _timed(bench, predictor, frames, rounds)
    finally:
        cv2.setNumThreads(threads)


def _timed(bench: Bench, predictor: Predictor, frames: Frames, rounds: int) -> list[DecisionTimes]:
    network_ms = _median_ms(lambda: predictor.predict(frames[0], frames[1], bench.settings.approach.delta_um), rounds)
    neighbours_ms = _median_ms(_judging(bench, frames), rounds)
    return [
        DecisionTimes(known, network_ms, neighbours_ms, _median_ms(_updating(known), rounds))
        for known in (20, 200, 2000)
    ]


def _judging(bench: Bench, frames: Frames) -> Callable[[], None]:
    """A frame is put beside a left and an upper neighbour that look like it where they overlap."""
    step_px = tuple(side * (1 - _OVERLAP) for side in reversed(bench.frame_shape))
    scale = bench.pixel_size_um / bench.objective.canonical_pixel_um
    kept = KeptFrames(
        FrameSharpness(scale), (step_px[0], step_px[1]), bench.objective.canonical_z_um, 2 * bench.half_depth_um, 0.17
    )
    surface = FocusSurface(0.0, _PITCH_UM)
    focus = surface.expect(0.0, 0.0)
    shift_x, shift_y = (round(step) for step in step_px)
    for cell, moved in (((1, 0), np.roll(frames[0], shift_x, axis=1)), ((0, 1), np.roll(frames[0], shift_y, axis=0))):
        kept.put(cell, moved, 0.0, focus, 0.05)

    def judge() -> None:
        kept.forget_if_there((1, 1))
        kept.put((1, 1), frames[0], 0.0, focus, 0.05)

    return judge


def _updating(known: int) -> Callable[[], None]:
    """A serpentine of fields on a tilt is known; one more is added each time, and the next one expected."""
    rng = np.random.default_rng(0)
    surface = FocusSurface(0.0, _PITCH_UM)
    side = int(np.ceil(np.sqrt(known)))
    places = [(_PITCH_UM * (index % side), _PITCH_UM * (index // side)) for index in range(known + 200)]

    def add(index: int) -> None:
        x_um, y_um = places[index]
        surface.add(x_um, y_um, 2e-3 * x_um - 1e-3 * y_um + rng.normal(0.0, 0.2), 0.2)

    for index in range(known):
        add(index)
    following = iter(range(known, known + 199))

    def update() -> None:
        index = next(following)
        add(index)
        surface.expect(*places[index + 1])

    return update


def _median_ms(run: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds + 1):
        began = time.thread_time()
        run()
        times.append(time.thread_time() - began)
    return 1000 * float(np.median(times[1:]))
