"""A scan without light: the real stages, clock and control code over a slide whose readings come from an error model.

A frame here holds nothing but a serial number. What the network and the figures of merit say of it is drawn from the
bank of rendered fields (`bank`): each field of the slide has the texture of one of them, and a pair gets the very error
that the network made on the rendered pair nearest in defocus and Δ. Control code cannot tell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parfocal.benchmark.bank import DELTA_UM, Bank
from parfocal.benchmark.slides import PolicySlide
from parfocal.devices.base import Clock, Frame
from parfocal.devices.microscope import Microscope
from parfocal.devices.simulated import (
    CameraSettings,
    SimulatedLamp,
    SimulatedXYStage,
    SimulatedZStage,
    VirtualClock,
    XYSettings,
    ZSettings,
)
from parfocal.focus.field import Eyes
from parfocal.focus.kept import Cell
from parfocal.focus.predictor import FocusPrediction, PairContrast
from parfocal.optics.objective import Objective
from parfocal.scan.plan import PlannedField, ScanPlan

Array = NDArray[np.float64]

_DELTA_WEIGHT = 3.0  # a µm of Δ matters as much as so many of defocus
_SCORE_NOISE, _COMPARISON_NOISE = 0.002, 0.008
_EMPTY_SD, _NOISE_SD = 1.0, 0.5
_STUCK_UM = 0.3
_SIDES = {(0, -1): 0, (0, 1): 1, (-1, 0): 2, (1, 0): 3}


@dataclass(frozen=True)
class _Seen:
    """What a frame shows: field of the plan and true z in µm."""

    cell: Cell
    z_um: float


class ModelledSlide:
    """A slide whose fields each have the texture of a rendered one.

    Args:
        slide: relief, textures and where it is empty.
        plan: its fields.
        bank: the rendered ones.
        seed: which field gets which texture.
    """

    def __init__(self, slide: PolicySlide, plan: ScanPlan, bank: Bank, seed: int) -> None:
        rng = np.random.default_rng((seed, 7))
        has_focus = bank.offset_um != 0.0  # a field whose centre shows nothing has no best focus by its definition
        choices = np.flatnonzero(np.isin(bank.kind, slide.textures) & bank.is_tissue & has_focus)
        self._plan = plan
        self._relief = slide.relief(seed)
        self.bank = bank
        self._texture: dict[Cell, int] = {}
        self.focus_um: dict[Cell, float] = {}
        for field in plan:
            cell = (field.row, field.column)
            texture = int(rng.choice(choices))
            if not slide.is_empty(field.x_um, field.y_um):
                self._texture[cell] = texture
            self.focus_um[cell] = self.relief_um(field.x_um, field.y_um) + float(bank.offset_um[texture])

    def relief_um(self, x_um: float, y_um: float) -> float:
        """Mean depth of the specimen in µm."""
        return float(self._relief.focus_z_um(np.array([x_um]), np.array([y_um]))[0])

    def texture(self, cell: Cell) -> int | None:
        """Which rendered field it looks like; None if it is empty."""
        return self._texture.get(cell)

    def cell_at(self, x_um: float, y_um: float) -> Cell:
        """The field of the plan nearest to a place in µm."""
        plan = self._plan
        place = (
            (y_um - plan.centre_um[1]) / plan.step_um[1] + (plan.rows - 1) / 2,
            (x_um - plan.centre_um[0]) / plan.step_um[0] + (plan.columns - 1) / 2,
        )
        row, column = (min(max(round(p), 0), n - 1) for p, n in zip(place, (plan.rows, plan.columns), strict=True))
        return row, column

    def strip_focus_um(self, cell: Cell, beside: Cell) -> float:
        """Focus of what two neighbouring fields share, in µm."""
        fields = [self._place_um(one) for one in (cell, beside)]
        x_um, y_um = ((a + b) / 2 for a, b in zip(*fields, strict=True))
        texture = self._texture[cell]
        return self.relief_um(x_um, y_um) + float(self.bank.offset_um[texture])

    def _place_um(self, cell: Cell) -> tuple[float, float]:
        plan = self._plan
        return (
            plan.centre_um[0] + (cell[1] - (plan.columns - 1) / 2) * plan.step_um[0],
            plan.centre_um[1] + (cell[0] - (plan.rows - 1) / 2) * plan.step_um[1],
        )


class ModelledCamera:
    """Returns frames that hold a serial number."""

    def __init__(
        self,
        slide: ModelledSlide,
        stages: tuple[SimulatedXYStage, SimulatedZStage],
        clock: Clock,
        frame_shape: tuple[int, int],
        pixel_size_um: float,
    ) -> None:
        self._slide = slide
        self._xy, self._z = stages
        self._clock = clock
        self._frame_shape = frame_shape
        self._pixel_size_um = pixel_size_um
        self.seen: list[_Seen] = []

    @property
    def frame_shape(self) -> tuple[int, int]:
        """(Y, X) of what a frame stands for."""
        return self._frame_shape

    @property
    def pixel_size_um(self) -> float:
        """Of what a frame stands for, in µm."""
        return self._pixel_size_um

    def snap(self) -> Frame:
        """A serial number, as uint8 (1, 2, 3)."""
        self._clock.spend(CameraSettings().frame_s)
        serial = len(self.seen)
        self.seen.append(_Seen(self._slide.cell_at(*self._xy.true_um), self._z.true_um))
        return np.frombuffer(serial.to_bytes(6, "big"), dtype=np.uint8).reshape(1, 2, 3)

    def what(self, frame: Frame) -> _Seen:
        """What a frame shows."""
        return self.seen[int.from_bytes(frame.tobytes(), "big")]


class ModelledEyes:
    """Predictor and sharpness of modelled frames, by the bank."""

    def __init__(self, slide: ModelledSlide, camera: ModelledCamera, rng: np.random.Generator) -> None:
        self._slide = slide
        self._camera = camera
        self._bank = slide.bank
        self._rng = rng
        bank = slide.bank
        self._pairs = [np.flatnonzero(bank.field == index) for index in range(len(bank.kind))]
        self._defocus_um, self._delta_um = bank.defocus_um, bank.delta_um

    def measure(self, first: Frame, second: Frame) -> PairContrast:
        """See `focus.predictor.Predictor`."""
        a, b = self._camera.what(first), self._camera.what(second)
        texture = self._slide.texture(a.cell)
        if texture is None:
            return PairContrast(_EMPTY_SD, _NOISE_SD)
        image_sd = self._at(self._bank.image_sd, texture, self._defocus(a))
        apart_um = abs(b.z_um - a.z_um)
        if first is second or apart_um < _STUCK_UM:
            return PairContrast(image_sd, _NOISE_SD)
        pair = self._nearest(texture, self._defocus(b), DELTA_UM)
        return PairContrast(image_sd, float(self._bank.difference_sd[pair]) * min(1.0, apart_um / DELTA_UM))

    def predict(self, first: Frame, second: Frame, delta_um: float) -> FocusPrediction:  # noqa: ARG002
        """See `focus.predictor.Predictor`."""
        a, b = self._camera.what(first), self._camera.what(second)
        texture = self._slide.texture(a.cell)
        contrast = self.measure(first, second)
        if texture is None:
            return FocusPrediction(0.0, math.nan, (0.0,), (_EMPTY_SD,), contrast.image_sd, contrast.difference_sd)
        defocus_um = self._defocus(b)
        pair = self._nearest(texture, defocus_um, b.z_um - a.z_um)
        error_um = float(self._bank.predicted_um[pair] - self._defocus_um[pair])
        return FocusPrediction(
            defocus_um + error_um,
            float(self._bank.spread_um[pair]),
            (defocus_um + error_um,),
            (contrast.image_sd,),
            contrast.image_sd,
            contrast.difference_sd,
            doubt_um=float(self._bank.doubt_um[pair]),
        )

    def is_blank(self, frame: Frame) -> bool:  # noqa: ARG002
        """See `focus.sharpness.Sharpness`."""
        return False

    def centre(self, frame: Frame) -> float:
        """See `focus.sharpness.Sharpness`."""
        seen = self._camera.what(frame)
        texture = self._slide.texture(seen.cell)
        score = -12.0 if texture is None else self._at(self._bank.sharpness, texture, self._defocus(seen))
        return score + _SCORE_NOISE * float(self._rng.normal())

    def whole(self, frame: Frame) -> float:
        """See `focus.sharpness.Sharpness`."""
        return math.exp(self.centre(frame))

    def edges(self, frame: Frame) -> Frame:
        """See `focus.sharpness.Sharpness`."""
        return frame

    def compare(self, edges: Frame, other: Frame, apart_px: tuple[float, float]) -> float | None:  # noqa: ARG002
        """See `focus.sharpness.Sharpness`. The strip has the texture of the field nearer to the origin."""
        mine, theirs = self._camera.what(edges), self._camera.what(other)
        owner, beside = sorted((mine.cell, theirs.cell))
        texture = self._slide.texture(owner)
        side = _SIDES.get((beside[0] - owner[0], beside[1] - owner[1]))
        if texture is None or self._slide.texture(beside) is None or side is None:
            return None
        focus_um = self._slide.strip_focus_um(owner, beside)
        curve = self._bank.strips[..., side]
        scores = [self._at(curve, texture, seen.z_um - focus_um) for seen in (mine, theirs)]
        return scores[0] - scores[1] + _COMPARISON_NOISE * float(self._rng.normal())

    def _defocus(self, seen: _Seen) -> float:
        return seen.z_um - self._slide.focus_um[seen.cell]

    def _at(self, curves: Array, texture: int, defocus_um: float) -> float:
        return float(np.interp(defocus_um, self._bank.z_um[texture], curves[texture]))

    def _nearest(self, texture: int, defocus_um: float, delta_um: float) -> int:
        pairs = self._pairs[texture]
        away = np.abs(self._defocus_um[pairs] - defocus_um) + _DELTA_WEIGHT * np.abs(self._delta_um[pairs] - delta_um)
        return int(pairs[np.argmin(away)])


class ModelledTruth:
    """What is true of a modelled scan (`devices.base.Truth`), where the report needs it."""

    def __init__(self, slide: ModelledSlide, stages: tuple[SimulatedXYStage, SimulatedZStage]) -> None:
        self._slide = slide
        self._xy, self._z = stages

    @property
    def stage_position_um(self) -> tuple[float, float, float]:
        """True (x, y, z) of the stage in µm."""
        return (*self._xy.true_um, self._z.true_um)

    def best_focus_um(self, x_um: float, y_um: float) -> float:
        """Best focus of the field there, in µm."""
        return self._slide.focus_um[self._slide.cell_at(x_um, y_um)]

    def is_tissue(self, x_um: float, y_um: float) -> bool:
        """Whether the field there is not empty."""
        return self._slide.texture(self._slide.cell_at(x_um, y_um)) is not None


@dataclass(frozen=True)
class ModelledScan:
    """All that a modelled scan needs: devices, eyes, truth and the focus of a field to begin with."""

    microscope: Microscope
    eyes: Eyes
    truth: ModelledTruth
    slide: ModelledSlide

    def known_um(self, field: PlannedField) -> float:
        """Focus of a field to a µm, as a sweep would find it."""
        return self.slide.focus_um[field.row, field.column] + 0.5


def modelled_scan(
    slide: PolicySlide,
    plan: ScanPlan,
    bank: Bank,
    seed: int,
    objective: Objective,
    sensor_pixel_um: float,
    decision_time_s: float,
    frame_shape: tuple[int, int],
    pixel_size_um: float,
) -> ModelledScan:
    """Stages, clock and camera of the modelled instrument over a slide (design: facts, section 5)."""
    z_rng, xy_rng, eyes_rng = np.random.default_rng(seed).spawn(3)
    clock, lamp = VirtualClock(), SimulatedLamp()
    stages = SimulatedXYStage(XYSettings(), clock, xy_rng), SimulatedZStage(ZSettings(), clock, z_rng)
    textured = ModelledSlide(slide, plan, bank, seed)
    camera = ModelledCamera(textured, stages, clock, frame_shape, pixel_size_um)
    looking = ModelledEyes(textured, camera, eyes_rng)
    microscope = Microscope(
        name="paper-40x",
        camera=camera,
        xy=stages[0],
        z=stages[1],
        lamp=lamp,
        clock=clock,
        objective=objective,
        sensor_pixel_um=sensor_pixel_um,
        decision_time_s=decision_time_s,
    )
    return ModelledScan(microscope, Eyes(looking, looking), ModelledTruth(textured, stages), textured)
