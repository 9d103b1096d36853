"""The scan itself: visit the planned fields, focus each, hand the kept frames to the fields folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from parfocal.devices.approach import GuardedZ, lamp_lit
from parfocal.devices.base import Camera, Frame, Truth
from parfocal.devices.microscope import Microscope
from parfocal.devices.sideways import CompensatedXY
from parfocal.errors import InstrumentError, ScanStoppedError
from parfocal.focus.controller import FocusResult, FocusSettings, focus_field
from parfocal.focus.predictor import Predictor
from parfocal.focus.search import SweepResult, initial_focus
from parfocal.focus.surface import FocusSurface
from parfocal.scan.calibration import CHECK_IMAGES, check_backlash
from parfocal.scan.plan import PlannedField, ScanPlan
from parfocal.scan.settings import ScanSettings
from parfocal.slide.fields import FieldRecord, FieldsWriter

_FLOOR_FACTOR = 1.15
_SWEEPS_AT_MOST = 4
_RICH_FIELDS = 3


@dataclass(frozen=True)
class ScanProgress:
    """How far a scan is.

    Attributes:
        fields_done: fields with a verdict.
        fields: fields in the plan.
        images: exposures so far, sweeps included.
        in_doubt: fields so far that are unsure or failed.
    """

    fields_done: int
    fields: int
    images: int
    in_doubt: int


@dataclass(frozen=True)
class ScanSummary:
    """What a finished scan says about itself.

    Attributes:
        images: all exposures.
        modelled_time_s: instrument time from the first move to the last frame.
        sweep: how the initial focal plane was found.
    """

    images: int
    modelled_time_s: float
    sweep: SweepResult


OnField = Callable[[FieldRecord, ScanProgress], None]


def scan_fields(
    microscope: Microscope,
    settings: ScanSettings,
    predictor: Predictor,
    plan: ScanPlan,
    writer: FieldsWriter,
    on_field: OnField,
    truth: Truth | None = None,
) -> ScanSummary:
    """Scan the planned fields (paper, section 4.3). The lamp is off afterwards, whatever happens.

    Args:
        microscope: the instrument.
        settings: how it focuses.
        predictor: defocus from pairs of frames.
        plan: fields in the order of the visit.
        writer: takes each field's record and kept frame.
        on_field: called after each field.
        truth: of a simulated instrument; it is only written down.

    Raises:
        SettingsError: if the stage's slack is larger than it is set up for; nothing was scanned.
        ScanStoppedError: if the instrument fails or the scan is interrupted; the fields so far are kept.
        FileError: if the folder cannot be written any more.
    """
    began_s = microscope.clock.now_s
    run = _Run(microscope, settings, predictor, plan, truth)
    try:
        with lamp_lit(microscope.lamp):
            sweep = run.find_focus()
            for planned in plan:
                record, result = run.visit(planned)
                writer.put(record, result.frame)
                on_field(record, run.progress())
    except InstrumentError as error:
        raise ScanStoppedError(f"stopped after {run.fields_done} of {len(plan)} fields: {error}") from error
    except KeyboardInterrupt as error:
        raise ScanStoppedError(f"interrupted after {run.fields_done} of {len(plan)} fields") from error
    return ScanSummary(run.images, microscope.clock.now_s - began_s, sweep)


class _Run:
    """The state of one scan: where the focus is, how much was done."""

    def __init__(
        self,
        microscope: Microscope,
        settings: ScanSettings,
        predictor: Predictor,
        plan: ScanPlan,
        truth: Truth | None,
    ) -> None:
        self._witness = None if truth is None else _Witness(microscope.camera, truth)
        self._microscope = replace(microscope, camera=self._witness) if self._witness else microscope
        self._settings = settings
        self._focus_settings: FocusSettings = settings.focus
        self._predictor = predictor
        self._plan = plan
        self._xy = CompensatedXY(microscope.xy, settings.xy_backlash_um)
        self._z = GuardedZ(microscope.z, microscope.clock, settings.approach, settings.limits)
        self._surface = FocusSurface(0.0)
        self.images = 0
        self.fields_done = 0
        self._in_doubt = 0

    def progress(self) -> ScanProgress:
        return ScanProgress(self.fields_done, len(self._plan), self.images, self._in_doubt)

    def find_focus(self) -> SweepResult:
        """Sweep at the first field that shows something; where none does, at the first (paper, section 4.3.1)."""
        candidates = self._promising()
        for planned in candidates:
            self._xy.move_to(planned.x_um, planned.y_um)
            sweep = initial_focus(self._microscope, self._z, self._settings.sweep)
            self.images += sweep.images
            if sweep.verdict == "found":
                break
        else:
            raise InstrumentError(f"no focus found in {len(candidates)} sweeps; the last one: {sweep.reason}")
        self._measure_noise()
        excess_um = check_backlash(self._microscope, self._z, sweep, self._settings.sweep.merit)
        self.images += CHECK_IMAGES if excess_um is not None else 0
        self._surface = FocusSurface(sweep.z_um)
        return sweep

    def _promising(self) -> list[PlannedField]:
        """Up to four fields on which to sweep, richest first; the plan is gone through until three are rich enough."""
        seen: list[tuple[float, PlannedField]] = []
        for planned in self._plan:
            self._xy.move_to(planned.x_um, planned.y_um)
            frame = self._microscope.camera.snap()
            self.images += 1
            contrast = self._predictor.measure(frame, frame).image_sd
            seen.append((contrast, planned))
            if sum(known >= 3 * self._focus_settings.empty_sd for known, _ in seen) >= _RICH_FIELDS:
                break
        seen.sort(key=lambda entry: -entry[0])
        return [planned for _, planned in seen[:_SWEEPS_AT_MOST]]

    def _measure_noise(self) -> None:
        """The noise floor of a difference: two frames at the sweep's end, too blurred for vibration to matter."""
        first, second = self._microscope.camera.snap(), self._microscope.camera.snap()
        self.images += 2
        floor = _FLOOR_FACTOR * self._predictor.measure(first, second).difference_sd
        self._focus_settings = replace(self._settings.focus, difference_floor=floor)

    def visit(self, planned: PlannedField) -> tuple[FieldRecord, FocusResult]:
        """Go to a field, focus it, learn from it."""
        self._xy.move_to(planned.x_um, planned.y_um)
        pivot_um = self._surface.pivot_um(planned.x_um, planned.y_um)
        if self._witness:
            self._witness.forget()
        result = focus_field(self._microscope, self._z, self._predictor, pivot_um, self._focus_settings)
        if result.verdict == "focused" and result.focus_um is not None:
            self._surface.add(planned.x_um, planned.y_um, result.focus_um, result.spread_um)
        self.images += result.images
        self.fields_done += 1
        self._in_doubt += result.verdict in ("unsure", "failed")
        x_um, y_um = self._xy.position_um
        record = FieldRecord(
            index=planned.index,
            row=planned.row,
            column=planned.column,
            stage_x_um=x_um,
            stage_y_um=y_um,
            stage_z_um=result.z_um,
            verdict=result.verdict,
            images=result.images,
            focus=result.to_json(),
            true_stage_um=None if self._witness is None else self._witness.position_um(result.frame),
        )
        return record, result


class _Witness:
    """A simulated instrument's camera that remembers where the stage truly stood at each frame.

    The frame that is kept need not be the last one.
    """

    def __init__(self, camera: Camera, truth: Truth) -> None:
        self._camera = camera
        self._truth = truth
        self._seen: list[tuple[Frame, tuple[float, float, float]]] = []

    @property
    def frame_shape(self) -> tuple[int, int]:
        return self._camera.frame_shape

    @property
    def pixel_size_um(self) -> float:
        return self._camera.pixel_size_um

    def snap(self) -> Frame:
        frame = self._camera.snap()
        self._seen.append((frame, self._truth.stage_position_um))
        return frame

    def forget(self) -> None:
        """A new field begins."""
        self._seen.clear()

    def position_um(self, frame: Frame) -> tuple[float, float, float]:
        """True (x, y, z) in µm at which one of the field's frames was taken."""
        return next(position_um for seen, position_um in self._seen if seen is frame)
