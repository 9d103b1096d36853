"""Whether the x-y stage stands where it says: what fields show of each other tells if it has lost steps.

Neighbours show the same strip of the slide. Where a field shows none of its neighbours' where it should, and clearly
shows another field's somewhere else, or the picture before once more, the stage is in doubt. A doubt is no more than
that: cells look alike, strips may be empty. It is settled by going back to a field whose place is known.

Steps that are lost stay lost: what one field shows of a trusted one holds for all that were taken in between.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from parfocal.devices.base import Frame
from parfocal.errors import FileError
from parfocal.scan.plan import PlannedField, ScanPlan
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.registration.translation import coarse_plane, find_shift

NOTE = "lost steps"
"""What the journal calls it."""

Offset = tuple[float, float]
"""(x, y) in µm."""

_LONGEST_PX = 160  # of a plane that is compared
_LEAST_PX = 64  # of a frame that tells anything
_AGREES, _CLEAR = 0.7, 0.75  # correlation in what both show
_AGREES_EVIDENCE, _CLEAR_EVIDENCE = 20.0, 35.0
_DEARER, _MOST_EVIDENCE = 1.5, 100.0  # after each doubt that came to nothing; a picture that repeats has 120
_SAME_PICTURE = 0.4  # correlation from which a landmark is too much like the field in doubt
_TEXTURE = 4.0  # grey levels: standard deviation of what has something to show; a camera's own pattern has 2
_STRANGE, _MOST_STRANGE = 3, 48  # fields in a row that no field whose place is known bears out
_ROWS = 2  # of planes that are kept
_LANDMARKS, _LATEST = 2, 12


@dataclass(frozen=True)
class Comparison:
    """What a field tells about where the stage stands, by another one.

    Attributes:
        index: of the other field.
        off_um: by how much farther the stage stands than it says, were the other field right; None: no overlap.
        correlation: of what both show.
        evidence: that, times the square root of how many pixels both show.
        should_show: whether both have something in the strip that they should share.
    """

    index: int
    off_um: Offset | None
    correlation: float = 0.0
    evidence: float = 0.0
    should_show: bool = False


Standing = Literal["right", "off", "strange", "unknown"]


def standing(
    comparisons: Sequence[Comparison], within_um: Offset, clear_evidence: float = _CLEAR_EVIDENCE
) -> tuple[Standing, Comparison | None]:
    """Where the stage stands by what a field shows of others.

    Args:
        comparisons: with other fields.
        within_um: how far off, along x and y, is no matter: less than what neighbours share.
        clear_evidence: from which one that says otherwise is believed.

    Returns:
        "right" where one agrees, and which; "off" where none does and one clearly says otherwise, and which; "strange"
        where neighbours should have shown the same and none did; "unknown" where there was nothing to compare.
    """
    best = sorted(comparisons, key=lambda one: -one.evidence)
    for one in best:
        if _is_within(one.off_um, within_um) and one.correlation >= _AGREES and one.evidence >= _AGREES_EVIDENCE:
            return "right", one
    for one in best:
        if one.off_um is not None and one.correlation >= _CLEAR and one.evidence >= clear_evidence:
            return "off", one
    return ("strange", None) if any(one.should_show for one in comparisons) else ("unknown", None)


def _is_within(off_um: Offset | None, within_um: Offset) -> bool:
    return off_um is not None and all(abs(off) <= most for off, most in zip(off_um, within_um, strict=True))


@dataclass(frozen=True)
class Sight:
    """A field as it was seen: what was planned, z in µm, and a small plane (Y, X) without its shading."""

    planned: PlannedField
    z_um: float
    plane: NDArray[np.float16]


@dataclass(frozen=True)
class Doubt:
    """A reason to go back and look.

    Attributes:
        index: of the field that gives it.
        suspects: fields whose place is in doubt, that one among them.
        off_um: by how much farther the stage seems to stand than it says; None where nothing tells.
        why: in words.
    """

    index: int
    suspects: tuple[int, ...]
    off_um: Offset | None
    why: str


class StepWatch:
    """Compares fields with those around and before them, as a scan takes them.

    Args:
        plan: all fields.
        frame_shape: (Y, X) of a frame in pixels.
        pixel_um: size of its pixel in µm.
    """

    def __init__(self, plan: ScanPlan, frame_shape: tuple[int, int], pixel_um: float) -> None:
        self._factor = max(1, -(-max(frame_shape) // _LONGEST_PX))
        self._tells = min(frame_shape) >= _LEAST_PX
        self._plane_um = self._factor * pixel_um
        frame_um = (frame_shape[1] * pixel_um, frame_shape[0] * pixel_um)
        self.within_um: Offset = (frame_um[0] - plan.step_um[0], frame_um[1] - plan.step_um[1])
        """How far off, along x and y, is left to the stitching: what neighbours share."""
        self._most_kept = _ROWS * plan.columns + _LATEST
        self._sights: dict[tuple[int, int], Sight] = {}
        self._before: Sight | None = None
        self._trusted: set[int] = set()
        self._suspects: list[int] = []
        self._strange, self._strange_at, self._clear_evidence = 0, _STRANGE, _CLEAR_EVIDENCE

    def remember(self, planned: PlannedField, frame: Frame, z_um: float) -> None:
        """A field whose place is beyond doubt, such as one of an earlier run."""
        sight = self.sight(planned, frame, z_um)
        if sight is not None:
            self._keep(sight)
            self._trusted.add(planned.index)

    def pass_by(self, planned: PlannedField) -> None:
        """A field was taken that shows nothing, or nothing in focus."""
        self._suspects.append(planned.index)

    def look(self, planned: PlannedField, frame: Frame, z_um: float) -> Doubt | None:
        """A field was taken and is in focus: whether it is where it should be. A few ms, some 20 where it is not."""
        sight = self.sight(planned, frame, z_um)
        self._suspects.append(planned.index)
        if sight is None:
            return None
        how, by = standing(self._comparisons(sight), self.within_um, self._clear_evidence)
        before, self._before = self._before, sight
        self._keep(sight)
        if not self._trusted or (how == "right" and by is not None and by.index in self._trusted):
            self.trust()
            self._strange = 0
        elif how == "strange" or (how == "right" and self._strange):  # those that went astray together agree
            self._strange += 1
        if how == "off" and by is not None:
            return self._doubt(planned, by, before)
        if self._strange >= self._strange_at:
            why = f"field {planned.index} and {self._strange - 1} before it show nothing of fields whose place is known"
            return Doubt(planned.index, tuple(self._suspects), None, why)
        return None

    def trust(self) -> None:
        """All that was taken is where it should be."""
        kept = {one.planned.index for one in self._sights.values()}
        self._trusted.update(kept.intersection(self._suspects))
        self._suspects.clear()

    def dismiss(self) -> None:
        """A doubt came to nothing: all is well, and the next one must have better reasons."""
        self.trust()
        self._strange, self._strange_at = 0, min(2 * self._strange_at, _MOST_STRANGE)
        self._clear_evidence = min(_DEARER * self._clear_evidence, _MOST_EVIDENCE)

    def is_no_matter(self, off_um: Offset) -> bool:
        """Whether the stitching can be left to deal with it."""
        return _is_within(off_um, self.within_um)

    def landmarks(self, doubt: Doubt) -> list[Sight]:
        """Up to two fields whose place is known, rich ones, and none that looks like the one in doubt."""
        doubted = next((one for one in self._sights.values() if one.planned.index == doubt.index), None)
        known = [one for one in self._sights.values() if one.planned.index not in doubt.suspects]
        unlike = [one for one in known[-_LATEST:] if doubted is None or not self._is_same(one, doubted)]
        return sorted(unlike, key=lambda one: -float(one.plane.std(dtype=np.float32)))[:_LANDMARKS]

    def sight(self, planned: PlannedField, frame: Frame, z_um: float) -> Sight | None:
        """What is kept of a frame, uint8 (Y, X, 3); None of one that is too small, or too empty, to tell anything."""
        if not self._tells or min(frame.shape[:2]) < _LEAST_PX:
            return None
        plane = coarse_plane(np.ascontiguousarray(frame[..., 1]), self._factor)
        return Sight(planned, z_um, plane.astype(np.float16)) if float(plane.std()) >= _TEXTURE else None

    def off_um(self, now: Sight, then: Sight) -> Offset | None:
        """By how much farther the stage stands than it says, by two sights; None where they show nothing in common."""
        found = self._found(then, now)
        is_clear = found.correlation >= _CLEAR and found.evidence >= _CLEAR_EVIDENCE
        return found.off_um if is_clear else None

    def _comparisons(self, sight: Sight) -> list[Comparison]:
        """With what should show the same, in no wider a reach than that; where none agrees, in any."""
        beside = list(self._beside(sight.planned))
        near: list[Comparison] = []
        for other in beside:
            near.append(self._found(other, sight, self.within_um))
            if other.planned.index in self._trusted and standing(near[-1:], self.within_um)[0] == "right":
                return near
        if standing(near, self.within_um)[0] == "right":
            return near
        others = {one.planned.index: one for one in ((self._before,) if self._before else ()) + tuple(beside[-2:])}
        return near + [self._found(other, sight) for other in others.values()]

    def _found(self, other: Sight, sight: Sight, reach_um: Offset | None = None) -> Comparison:
        a, b = (one.plane.astype(np.float32) for one in (other, sight))
        planned_um = self._apart_um(other.planned, sight.planned)
        planned_px = (planned_um[0] / self._plane_um, planned_um[1] / self._plane_um)
        if reach_um is None:
            found, should_show = find_shift(a, b, (0.0, 0.0), float(max(a.shape))), False
        else:
            found = find_shift(a, b, planned_px, max(reach_um) / self._plane_um)
            should_show = _have_texture(a, b, planned_px)
        if found is None:
            return Comparison(other.planned.index, None)
        off_um = (
            (found.dx - planned_px[0]) * self._plane_um, (found.dy - planned_px[1]) * self._plane_um
        )  # fmt: skip
        return Comparison(other.planned.index, off_um, found.correlation, found.evidence, should_show)

    def _beside(self, planned: PlannedField) -> Iterator[Sight]:
        """The field itself as it was taken before, and its neighbours, those of the row that is being taken last."""
        row, column = planned.row, planned.column
        for cell in ((row, column), (row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
            if cell in self._sights:
                yield self._sights[cell]

    def _doubt(self, planned: PlannedField, by: Comparison, before: Sight | None) -> Doubt:
        """Where the field before says so, the steps were lost between the two."""
        is_new = before is not None and by.index == before.planned.index and by.index in self._suspects
        suspects = self._suspects[self._suspects.index(by.index) + 1 :] if is_new else self._suspects
        assert by.off_um is not None
        away_um = math.hypot(*by.off_um)
        why = (
            f"field {planned.index} lies {away_um:.0f} µm ({by.off_um[0]:+.0f} in x, {by.off_um[1]:+.0f} in y) from "
            f"where it should, by what it shows of field {by.index}"
        )
        return Doubt(planned.index, tuple(suspects), by.off_um, why)

    def _is_same(self, one: Sight, other: Sight) -> bool:
        a, b = (sight.plane.astype(np.float32).ravel() for sight in (one, other))
        return float(a @ b) > _SAME_PICTURE * math.sqrt(float(a @ a) * float(b @ b))

    def _apart_um(self, a: PlannedField, b: PlannedField) -> Offset:
        return b.x_um - a.x_um, b.y_um - a.y_um

    def _keep(self, sight: Sight) -> None:
        cell = (sight.planned.row, sight.planned.column)
        self._sights.pop(cell, None)
        self._sights[cell] = sight
        while len(self._sights) > self._most_kept:
            oldest = next(iter(self._sights))
            self._trusted.discard(self._sights.pop(oldest).planned.index)


def _have_texture(a: NDArray[np.float32], b: NDArray[np.float32], apart_px: Offset) -> bool:
    """Whether two planes both have something in the strip that they share when b lies so far from a."""
    dx, dy = (round(px) for px in apart_px)
    rows, columns = a.shape
    width, height = columns - abs(dx), rows - abs(dy)
    if min(width, height) < 2:
        return False
    of_a = a[max(0, dy) : max(0, dy) + height, max(0, dx) : max(0, dx) + width]
    of_b = b[max(0, -dy) : max(0, -dy) + height, max(0, -dx) : max(0, -dx) + width]
    return min(float(of_a.std()), float(of_b.std())) >= _TEXTURE


def suspects_of(folder: FieldsFolder) -> set[tuple[int, int]]:
    """(index, attempt) of fields of a folder that were taken after steps were lost: they do not lie where they say.

    Raises:
        FileError: if the journal cannot be read, or does not tell which.
    """
    try:
        return {(int(index), int(attempt)) for note in folder.notes(NOTE) for index, attempt in note["suspects"]}
    except (KeyError, TypeError, ValueError) as error:
        raise FileError(f"{folder.path}: the journal does not tell of which fields steps were lost: {error}") from error


def astray(folder: FieldsFolder) -> list[int]:
    """Fields whose kept frame was taken after steps were lost, sorted: a stage that never found its place leaves them.

    Raises:
        FileError: if the journal cannot be read.
    """
    suspects = suspects_of(folder)
    return sorted(record.index for record in folder.records if (record.index, record.attempt) in suspects)


def without_suspects(folder: FieldsFolder, suspects: set[tuple[int, int]]) -> FieldsFolder:
    """The same folder without what was taken after steps were lost."""
    sound = [record for record in folder.attempts if (record.index, record.attempt) not in suspects]
    return folder.with_attempts(sound)


def note_of(doubt: Doubt, attempts: NDArray[np.int32]) -> dict[str, Any]:
    """What the journal says of steps that were lost, as JSON values."""
    return {
        "field": doubt.index,
        "off_um": None if doubt.off_um is None else [round(um, 2) for um in doubt.off_um],
        "why": doubt.why,
        "suspects": [[index, int(attempts[index])] for index in doubt.suspects],
    }
