"""Does a larger Δ make predictions more accurate, and less sensitive to noise and compression (paper, section 4.2)?

Pairs at 40X/0.65 whose second image lies within ±25 µm of the focus, for each Δ and each condition of the camera: the
same specimens, the same second images and the same draws of the noise, so that nothing else differs. The stage is exact
and nothing shakes, since both weigh less against a larger Δ whatever a network does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from parfocal.evaluation.metrics import Summary, summarise
from parfocal.evaluation.pairing import SENSOR_PIXEL_UM
from parfocal.focus.predictor import FocusPredictor, Predictor
from parfocal.optics.abbe import Exposure
from parfocal.stacks.protocol import LENSES, LensName, Scene
from parfocal.stacks.simulated import SetSettings, draw_focused, render

LENS_NAME: LensName = "40x0.65"
LENS = LENSES[LENS_NAME]
DELTAS_UM = (2, 3, 4, 5)
REACH_UM, NEAR_UM = 25, 5.0

_SPACING_UM = 2  # of the second images; all images lie 1 µm apart
_HALF_DOF_UM = LENS.objective.depth_of_field_um(SENSOR_PIXEL_UM) / 2
_ROUNDING = 1.01


@dataclass(frozen=True)
class Condition:
    """What the camera and the file format do to the light.

    Attributes:
        full_well_e: electrons at 255 grey.
        dark_noise_e: read noise in electrons.
        jpeg_quality: None for no compression.
    """

    full_well_e: float = 200_000
    dark_noise_e: float = 3
    jpeg_quality: int | None = None


CONDITIONS = {
    "quiet": Condition(),
    "noisy": Condition(full_well_e=5_000, dark_noise_e=15),
    "jpeg-90": Condition(jpeg_quality=90),
    "jpeg-60": Condition(jpeg_quality=60),
}


@dataclass(frozen=True)
class Candidate:
    """A predictor under test.

    Attributes:
        name: of its row.
        predictor: for frames at the pixel of `LENS`.
        delta_um: smallest and largest Δ that it knows, in µm.
    """

    name: str
    predictor: Predictor
    delta_um: tuple[float, float]

    def knows(self, delta_um: float) -> bool:
        """Whether a Δ is one of those that it was made for."""
        return self.delta_um[0] / _ROUNDING <= delta_um <= self.delta_um[1] * _ROUNDING


def open_candidate(name: str, network: Path) -> Candidate:
    """A network file as a candidate. Raises FileError if it cannot be used."""
    predictor = FocusPredictor(network, LENS.objective, LENS.pixel_um, patch_grid=None)
    low_u, high_u = predictor.contract.delta_u
    unit_um = LENS.objective.canonical_z_um
    return Candidate(name, predictor, (low_u * unit_um, high_u * unit_um))


@dataclass(frozen=True)
class DeltaRow:
    """One candidate at one Δ under one condition.

    Attributes:
        network: name of the candidate.
        delta_um: distance of the two images in µm.
        condition: a name in `CONDITIONS`.
        everywhere: figures of all pairs; without any for a Δ that the candidate does not know.
        near: figures of the pairs whose true defocus is at most 5 µm.
    """

    network: str
    delta_um: int
    condition: str
    everywhere: Summary
    near: Summary

    def to_json(self) -> dict[str, object]:
        """As `parfocal benchmark delta --json` prints it: null for what the network does not know."""
        named = {"network": self.network, "delta_um": self.delta_um, "condition": self.condition}
        known = self.everywhere.pairs > 0
        return {**named, "known": known, **self.everywhere.to_json(), f"within_{NEAR_UM:g}_um": self.near.to_json()}


def measure_delta(
    candidates: Sequence[Candidate],
    fields: int,
    seed: int,
    tiles: tuple[int, int] = (2, 2),
    on_progress: Callable[[str, int, int], None] | None = None,
) -> list[DeltaRow]:
    """Ask candidates about pairs at every Δ that they know, under every condition.

    Args:
        candidates: any number.
        fields: number of random specimens, of the protocol *same*, by the fast light.
        seed: of specimens, planes and noise.
        tiles: (rows, columns) of 224² pixels of a frame; the paper's field has four.
        on_progress: called with what, how many parts are done, of how many.
    """
    said: dict[tuple[int, int, str], list[tuple[float, float, int]]] = {}  # predicted, truth in µm, specimen
    for index in range(fields):
        rng = np.random.default_rng((seed, index))
        scene, best_z = draw_focused(SetSettings("same", seed, "fast", tiles, lens=LENS_NAME), rng)
        lowest_um = -REACH_UM - DELTAS_UM[-1] + rng.uniform(0, _SPACING_UM)
        defocus_um = lowest_um + np.arange(2 * REACH_UM + DELTAS_UM[-1] - _SPACING_UM + 1)
        light = render(scene, "fast", [Exposure(best_z + float(z)) for z in defocus_um])
        for turn, (name, condition) in enumerate(CONDITIONS.items(), start=1):
            frames = _photograph(light, scene, condition, (seed, index))
            for who, candidate in enumerate(candidates):
                for delta_um in filter(candidate.knows, DELTAS_UM):
                    for second in range(DELTAS_UM[-1], len(frames), _SPACING_UM):
                        told = candidate.predictor.predict(frames[second - delta_um], frames[second], float(delta_um))
                        values = (told.defocus_um, float(defocus_um[second]), index)
                        said.setdefault((who, delta_um, name), []).append(values)
            if on_progress:
                on_progress("specimens under conditions", index * len(CONDITIONS) + turn, fields * len(CONDITIONS))
    rows = [(who, delta_um, name) for who in range(len(candidates)) for name in CONDITIONS for delta_um in DELTAS_UM]
    return [_row(candidates[row[0]].name, row[1], row[2], said.get(row, [])) for row in rows]


def _photograph(
    light: Sequence[NDArray[np.float32]], scene: Scene, condition: Condition, seed: tuple[int, int]
) -> list[NDArray[np.uint8]]:
    """The frames of a specimen; each plane has its own noise, drawn alike under every condition."""
    sensor = replace(scene.sensor, full_well_e=condition.full_well_e, dark_noise_e=condition.dark_noise_e)
    frames = [sensor.expose(plane, np.random.default_rng((*seed, number))) for number, plane in enumerate(light, 1)]
    if condition.jpeg_quality is None:
        return frames
    settings = [cv2.IMWRITE_JPEG_QUALITY, condition.jpeg_quality]
    files = [cv2.imencode(".jpg", np.ascontiguousarray(frame[..., ::-1]), settings)[1] for frame in frames]
    decoded = [np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR), dtype=np.uint8) for file in files]
    return [np.ascontiguousarray(frame[..., ::-1]) for frame in decoded]


def _row(network: str, delta_um: int, condition: str, said: list[tuple[float, float, int]]) -> DeltaRow:
    predicted, truth, specimen = np.array(said, dtype=np.float64).reshape(-1, 3).T

    def figures(kept: NDArray[np.bool_]) -> Summary:
        half_dof = np.full(int(kept.sum()), _HALF_DOF_UM)
        return summarise(predicted[kept], truth[kept], half_dof, half_dof, specimen[kept].astype(np.int64))

    everywhere = figures(np.ones(truth.size, dtype=np.bool_))
    return DeltaRow(network, delta_um, condition, everywhere, figures(np.abs(truth) <= NEAR_UM))


def as_text(rows: Sequence[DeltaRow]) -> str:
    """The rows as a table for people."""
    wide = max(len(row.network) for row in rows)
    lines = [f"{'network':{wide}} condition     Δ    mean |error|   half DOF within {NEAR_UM:g} µm   wrong direction"]
    for row in rows:
        line = f"{row.network:{wide}} {row.condition:9} {row.delta_um:2} µm"
        figures, near = row.everywhere, row.near
        if figures.mean_abs_error_um is None or near.within_half_dof is None or figures.wrong_direction is None:
            lines.append(f"{line}   not known by the network")
            continue
        wrong = f"{figures.wrong_direction:17.2%}"
        lines.append(f"{line} {figures.mean_abs_error_um:12.3f} µm {near.within_half_dof:22.1%} {wrong}")
    return "\n".join(lines)
