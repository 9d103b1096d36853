"""z backlash from focus curves: the moves and exposures. `curves` does the arithmetic."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from parfocal.devices.approach import GuardedZ
from parfocal.devices.microscope import Microscope
from parfocal.errors import InstrumentError, SettingsError
from parfocal.focus.search import SweepResult
from parfocal.merit import green, tenengrad
from parfocal.scan.calibration.curves import FocusCurve, Plateau, Slack, curve_shift, judge_plateau, place_on_flank
from parfocal.scan.calibration.progress import OnStep, silent

_COARSE_STEP_UM = 2.0
_TEMPLATE_UM = 10.0
_PLATEAU_SHARES = (0.25, 0.5, 0.75, 0.9)
_BEYOND_SHARES = (0.25, 0.5)  # of the half width
_FINE_UM = 0.05
_LEAST_RISE = 0.2


@dataclass(frozen=True, kw_only=True)
class BacklashPlan:
    """How z backlash is measured. The numbers suit 20X/0.75; `for_depth` scales them.

    Attributes:
        repeats: pairs of an upward and a downward sweep.
        half_width_um: planes reach this far from the focus on either side.
        step_um: distance of the planes.
        largest_um: slack beyond this is not looked for.
        run_up_um: travelled beyond the slack before the first plane of a sweep.
        plateau_turns: reversals that the plateau is averaged over.

    Raises:
        SettingsError: if a value is out of range.
    """

    repeats: int = 10
    half_width_um: float = 6.0
    step_um: float = 1.5
    largest_um: float = 40.0
    run_up_um: float = 3.0
    plateau_turns: int = 4

    def __post_init__(self) -> None:
        if self.repeats < 1 or self.plateau_turns < 1:
            raise SettingsError(f"{self.repeats} pairs of sweeps or {self.plateau_turns} reversals are not 1 or more")
        for name in ("half_width_um", "step_um", "largest_um", "run_up_um"):
            if not 0 < getattr(self, name) < math.inf:
                raise SettingsError(f"{name} {getattr(self, name):g} µm is not above 0 µm")

    @classmethod
    def for_depth(cls, depth_of_field_um: float, repeats: int = 10) -> BacklashPlan:
        """For a lens: the planes reach five depths of field from the focus, and are a quarter of that apart."""
        half_width_um = min(max(5 * depth_of_field_um, 3.0), 15.0)
        return cls(repeats=repeats, half_width_um=half_width_um, step_um=half_width_um / 4)


@dataclass(frozen=True)
class BacklashMeasurement:
    """Measured z backlash.

    Attributes:
        slack: of each pair of sweeps.
        up: upward curves.
        down: downward curves, over commanded z.
        plateau: what the picture does after a reversal.
        images: exposures.
    """

    slack: Slack
    up: tuple[FocusCurve, ...]
    down: tuple[FocusCurve, ...]
    plateau: Plateau
    images: int


def measure_z_backlash(
    microscope: Microscope, z: GuardedZ, sweep: SweepResult, plan: BacklashPlan, on_step: OnStep = silent
) -> BacklashMeasurement:
    """Sweep up and down over the focus and see how far the curves lie apart. The caller lights the lamp.

    A coarse downward sweep finds the slack roughly, whatever the instrument is set up for. Pairs of fine sweeps follow
    in the order up, down; down, up; … (ABBA), which a steady drift cannot bias. Each sweep begins after a run that
    closes the slack in its direction. z is not held to the budgets of a field.

    Args:
        microscope: its camera is used.
        z: the guard over its z stage; its soft limits hold.
        sweep: where the focus is, by an upward sweep at this field.
        plan: planes and repeats.
        on_step: called after each sweep with how many are done, of how many.

    Raises:
        LimitError: if the planes would leave the limits; the stage has not gone beyond them.
        InstrumentError: if there is no focus here, or the curves do not match.
    """
    if sweep.verdict != "found":
        raise InstrumentError(f"z backlash needs a focus: {sweep.reason}")
    run = _Sweeps(microscope, z, plan, sweep.z_um)
    z.start_field(travel_budget_um=math.inf, time_budget_s=math.inf)
    total = 2 * plan.repeats + 2
    run.find_roughly(sweep)
    on_step(1, total)
    ups: list[FocusCurve] = []
    downs: list[FocusCurve] = []
    for repeat in range(plan.repeats):
        for upward in (repeat % 2 == 0, repeat % 2 == 1):
            (ups if upward else downs).append(run.up() if upward else run.down())
            on_step(1 + len(ups) + len(downs), total)
    reach_um = (run.rough_um - plan.half_width_um, run.rough_um + plan.half_width_um)
    slack = Slack(tuple(curve_shift(up, down, reach_um) for up, down in zip(ups, downs, strict=True)))
    plateau = run.plateau(_mean_curve(ups), slack.mean_um)
    on_step(total, total)
    return BacklashMeasurement(slack, tuple(ups), tuple(downs), plateau, run.images)


class _Sweeps:
    """Sweeps over one focus. Positions are commanded ones; the focus is where it is after upward motion."""

    def __init__(self, microscope: Microscope, z: GuardedZ, plan: BacklashPlan, focus_um: float) -> None:
        self._camera = microscope.camera
        self._z = z
        self._plan = plan
        self._focus_um = focus_um
        planes = round(plan.half_width_um / plan.step_um)
        self._offsets_um = [index * plan.step_um for index in range(-planes, planes + 1)]
        self._top_um = focus_um + plan.half_width_um + plan.run_up_um
        self.rough_um = 0.0
        self.images = 0

    @property
    def _bottom_um(self) -> float:
        """From here the slack is closed before the lowest plane of an upward sweep."""
        return self._focus_um - self.rough_um - self._plan.half_width_um - self._plan.run_up_um

    def find_roughly(self, sweep: SweepResult) -> None:
        """The slack to about a µm, from one downward sweep over all that it may be."""
        lowest_um = self._focus_um - self._plan.largest_um - _TEMPLATE_UM
        self._z.check_reach(lowest_um)
        self._z.check_reach(self._top_um)
        self._z.move_to(self._top_um)
        planes = math.floor((self._focus_um + _TEMPLATE_UM / 2 - lowest_um) / _COARSE_STEP_UM)
        down = self._curve(lowest_um + _COARSE_STEP_UM * index for index in range(planes, -1, -1))
        z_um, logs = np.array(sweep.curve_z_um), np.log(np.maximum(sweep.curve_merit, 1e-9))
        up = FocusCurve(tuple(map(float, z_um)), tuple(map(float, logs)))
        up = up.within(self._focus_um - _TEMPLATE_UM, self._focus_um + _TEMPLATE_UM / 2)
        self.rough_um = max(0.0, curve_shift(up, down, (-_COARSE_STEP_UM, self._plan.largest_um)))

    def up(self) -> FocusCurve:
        """An upward sweep, the slack closed upwards."""
        self._z.move_to(self._bottom_um)
        return self._curve(self._focus_um + offset_um for offset_um in self._offsets_um)

    def down(self) -> FocusCurve:
        """A downward sweep, the slack closed downwards."""
        self._rise_to(self._top_um)
        return self._curve(self._focus_um - self.rough_um + offset_um for offset_um in reversed(self._offsets_um))

    def plateau(self, mean: FocusCurve, slack_um: float) -> Plateau:
        """How the picture moves after a reversal on the rising flank, read off the mean upward curve."""
        beyond_um = [share * self._plan.half_width_um for share in _BEYOND_SHARES]
        flank_z_um, flank = _steep_flank(mean, 1.1 * beyond_um[-1])
        if slack_um < self._plan.step_um or flank.size == 0:
            return judge_plateau((), (), 0.0)
        turn_um = float(flank_z_um[-1])
        travels_um = [share * slack_um for share in _PLATEAU_SHARES] + [slack_um + more_um for more_um in beyond_um]
        moved_um = np.zeros((self._plan.plateau_turns, len(travels_um)))
        for turn in range(self._plan.plateau_turns):
            self._rise_to(turn_um)
            start_um = place_on_flank(self._score(), flank_z_um, flank)
            for index, travel_um in enumerate(travels_um):
                self._z.move_to(turn_um - travel_um)
                moved_um[turn, index] = start_um - place_on_flank(self._score(), flank_z_um, flank)
        return judge_plateau(travels_um, moved_um.mean(axis=0).tolist(), slack_um)

    def _rise_to(self, z_um: float) -> None:
        """Reach z_um upwards, the slack closed."""
        self._z.move_to(min(self._bottom_um, z_um - self.rough_um - self._plan.run_up_um))
        self._z.move_to(z_um)

    def _curve(self, targets_um: Iterable[float]) -> FocusCurve:
        """The curve over planes that are visited in this order."""
        planes = []
        for target_um in targets_um:
            self._z.move_to(target_um)
            planes.append((target_um, self._score()))
        planes.sort()
        return FocusCurve(tuple(z for z, _ in planes), tuple(score for _, score in planes))

    def _score(self) -> float:
        """ln (Tenengrad / mean²) of a new frame: flicker of the lamp cancels."""
        frame = self._camera.snap()
        self.images += 1
        return math.log(max(tenengrad(frame), 1e-9)) - 2 * math.log(max(float(green(frame).mean()), 1.0))


def _mean_curve(curves: list[FocusCurve]) -> FocusCurve:
    logs = np.mean([curve.log_merit for curve in curves], axis=0)
    return FocusCurve(curves[0].z_um, tuple(map(float, logs)))


def _steep_flank(curve: FocusCurve, room_um: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The rising flank below the peak in fine steps, without the top fifth; empty where it is flat or shorter."""
    fine_um = np.arange(curve.z_um[0], curve.z_um[-1], _FINE_UM)
    logs = CubicSpline(curve.z_um, curve.log_merit)(fine_um)
    peak = int(np.argmax(logs))
    falls = np.flatnonzero(np.diff(logs[: peak + 1]) <= 0)
    first = int(falls[-1]) + 1 if falls.size else 0
    flank_um, flank = fine_um[first : peak + 1], logs[first : peak + 1]
    top = int(np.argmax(flank >= flank[0] + 0.8 * np.ptp(flank)))
    if np.ptp(flank) < _LEAST_RISE or flank_um[top] - flank_um[0] < room_um:
        return np.zeros(0), np.zeros(0)
    return flank_um[: top + 1], flank[: top + 1]
