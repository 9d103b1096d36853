"""One field under the lens: its exposures so far, where they were taken, and what was made of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from parfocal.devices.approach import GuardedZ
from parfocal.devices.base import Frame
from parfocal.devices.microscope import Microscope
from parfocal.errors import InstrumentError
from parfocal.focus.decision import FocusSettings
from parfocal.focus.peak import Peak, find_peak
from parfocal.focus.predictor import Predictor
from parfocal.focus.result import FocusResult, FocusStep, Purpose, Verdict
from parfocal.focus.sharpness import FrameSharpness, Sharpness

SAME_PLACE_UM = 1e-6
NEAR_FLANK, FAR_FLANK, FARTHEST_FLANK = 0.25, 0.45, 1.25
"""How far beside a frame another one tells about the peak, in Δ."""


BLANKS_AT_MOST = 3
"""Blank frames in a row after which a camera counts as broken."""


@dataclass(frozen=True)
class Eyes:
    """What looks at frames: the network at pairs, figures of merit at single ones."""

    predictor: Predictor
    sharpness: Sharpness


def eyes_of(microscope: Microscope, predictor: Predictor, border: float = 0.2) -> Eyes:
    """A predictor, and sharpness at the microscope's scale; `border`: share of the side that neighbours may share."""
    scale = microscope.camera.pixel_size_um / microscope.objective.canonical_pixel_um
    return Eyes(predictor, FrameSharpness(scale, border))


@dataclass(frozen=True)
class Shot:
    """A frame, and where the stage says it was taken, in µm."""

    frame: Frame
    z_um: float


class Field:
    """Exposes a field and remembers. Every exposure comes after upward motion with the slack closed, by `approach`.

    Args:
        microscope: its camera is used; its clock is charged each decision.
        z: the guard over its z stage; the field has begun on it.
        eyes: what looks at the frames.
        settings: when a prediction counts.
    """

    def __init__(self, microscope: Microscope, z: GuardedZ, eyes: Eyes, settings: FocusSettings) -> None:
        self.z = z
        self.eyes = eyes
        self.settings = settings
        self.shots: list[Shot] = []
        self.trace: list[FocusStep] = []
        self._microscope = microscope

    def decide(self) -> None:
        """A decision was made on the instrument's computer: charge its time."""
        self._microscope.clock.spend(self._microscope.decision_time_s)

    def approach(self, purpose: Purpose, target_um: float) -> Shot:
        """Reach a target from below and expose there."""
        aim_um = self.z.reachable_um(target_um)
        self.z.approach_from_below(aim_um)
        return self.expose(purpose, target_um, aim_um)

    def expose(self, purpose: Purpose, target_um: float, aim_um: float | None = None, note: str = "") -> Shot:
        """Take a frame where the stage stands, and write it into the trace; `aim_um` is what a record could give.

        Raises:
            InstrumentError: if the camera returns blank frames only.
        """
        for _ in range(BLANKS_AT_MOST):
            shot = Shot(self._microscope.camera.snap(), self.z.position_um)
            if not self.eyes.sharpness.is_blank(shot.frame):
                break
            self.trace.append(FocusStep(purpose, target_um, shot.z_um, note="blank frame, taken again"))
        else:
            raise InstrumentError(f"the camera returned {BLANKS_AT_MOST} blank frames at z {self.z.position_um:.2f} µm")
        self.shots.append(shot)
        record = self._record_note(purpose, target_um, target_um if aim_um is None else aim_um)
        notes = "; ".join(text for text in (note, record) if text)
        self.trace.append(FocusStep(purpose, target_um, shot.z_um, note=notes))
        return shot

    def is_empty(self, shot: Shot) -> str | None:
        """Why a shot shows nothing to focus on; None if it shows something."""
        image_sd = self.eyes.predictor.measure(shot.frame, shot.frame).image_sd
        if image_sd >= self.settings.empty_sd:
            return None
        return f"sd of {image_sd:.2f} grey levels is below the empty level of {self.settings.empty_sd:g}"

    def note(self, note: str) -> None:
        """Write something into the trace, at the last exposure."""
        last = self.trace[-1]
        self.trace[-1] = replace(last, note="; ".join(text for text in (last.note, note) if text))

    def near(self, target_um: float, within_um: float) -> Shot | None:
        """The shot nearest to the target, if one is near enough, or at the plane where a record would go."""
        aim_um = self.z.reachable_um(target_um)
        nearest = min(self.shots, key=lambda shot: abs(shot.z_um - target_um), default=None)
        if nearest is None:
            return None
        is_near = abs(nearest.z_um - target_um) <= within_um or abs(nearest.z_um - aim_um) <= SAME_PLACE_UM
        return nearest if is_near else None

    def flank(self, z_um: float, side: int, nearest: float = NEAR_FLANK) -> Shot | None:
        """The nearest shot above (side +1) or below (−1) z_um, at a distance that tells."""
        delta_um = self.z.approach.delta_um
        beside = [
            shot
            for shot in self.shots
            if nearest * delta_um - SAME_PLACE_UM <= side * (shot.z_um - z_um) <= FARTHEST_FLANK * delta_um
        ]
        return min(beside, key=lambda shot: abs(shot.z_um - z_um), default=None)

    def expose_flank(self, z_um: float, side: int) -> Shot | None:
        """A shot half of Δ above or below z_um; None where the stage cannot give one."""
        target_um = z_um + side * self.z.approach.delta_um / 2
        aim_um = self.z.reachable_um(target_um)
        if not self.z.lowest_um <= aim_um <= self.z.highest_um or abs(aim_um - z_um) <= SAME_PLACE_UM:
            return None
        return self.approach("flank", target_um)

    def peak(self, shots: tuple[Shot, Shot, Shot]) -> Peak | None:
        """The sharpest plane by three shots; None where they do not tell."""
        sharpness = [self.eyes.sharpness.centre(shot.frame) for shot in shots]
        return find_peak([shot.z_um for shot in shots], sharpness)

    def sharpest(self) -> Shot:
        """The sharpest shot there is, by Tenengrad of the whole frame."""
        return max(self.shots, key=lambda shot: self.eyes.sharpness.whole(shot.frame))

    def result(self, verdict: Verdict, kept: Shot, reason: str) -> FocusResult:
        """What the field came to."""
        return FocusResult(verdict, kept.z_um, kept.frame, len(self.trace), tuple(self.trace), reason)

    def _record_note(self, purpose: Purpose, target_um: float, aim_um: float) -> str:
        """Says so where a record could not give what was asked for."""
        if abs(aim_um - target_um) <= SAME_PLACE_UM:
            return ""
        plane = "plane that leaves a pair" if purpose == "first" else "plane"
        if self.z.lowest_um <= target_um <= self.z.highest_um:
            return f"the nearest recorded {plane} is at {aim_um:.2f} µm"
        return f"{target_um:.2f} µm is beyond the record: its outermost {plane} is at {aim_um:.2f} µm"
