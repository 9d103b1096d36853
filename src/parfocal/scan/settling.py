"""A doubt about where the x-y stage stands, settled by going back to fields whose place is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from parfocal.devices.approach import GuardedZ
from parfocal.devices.base import Frame
from parfocal.devices.sideways import CompensatedXY
from parfocal.errors import BudgetError, LimitError, LostStepsError
from parfocal.scan.journal import Journal
from parfocal.scan.lost_steps import NOTE, Doubt, Offset, Sight, StepWatch, note_of


class Settling:
    """Goes back to fields whose place is known, an exposure each.

    Args:
        xy: moves to them.
        z: approaches where their frames were taken.
        snap: takes a frame, uint8 (Y, X, 3), and counts it.
        steps: what fields show of each other.
        journal: takes what came of it.
    """

    def __init__(
        self, xy: CompensatedXY, z: GuardedZ, snap: Callable[[], Frame], steps: StepWatch, journal: Journal
    ) -> None:
        self._xy, self._z, self._snap, self._steps, self._journal = xy, z, snap, steps, journal
        self.loss: Doubt | None = None
        """The doubt that was right, with what is known of the steps."""

    def settle(self, doubt: Doubt, attempts: NDArray[np.int32]) -> None:
        """Go and look.

        Args:
            doubt: to be settled.
            attempts: by field, how often it was taken: the journal tells which of them are in doubt.

        Raises:
            LostStepsError: if the fields are not where they were.
        """
        landmarks = self._steps.landmarks(doubt)
        seen = [self._off_um(landmark) for landmark in landmarks]
        if not landmarks or any(off_um is not None and self._steps.is_no_matter(off_um) for off_um in seen):
            self._journal.note("steps doubted", why=doubt.why, field=doubt.index, looked_at=len(landmarks))
            self._steps.dismiss()
            return
        told = [off_um for off_um in (*seen, doubt.off_um) if off_um is not None]
        borne_out = (self._borne_out(landmarks, off_um) for off_um in told)
        self.loss = replace(doubt, off_um=next((off_um for off_um in borne_out if off_um is not None), None))
        self._journal.note(NOTE, **note_of(self.loss, attempts))
        raise LostStepsError(f"the x-y stage lost steps: {doubt.why}")

    def _borne_out(self, landmarks: Sequence[Sight], off_um: Offset) -> Offset | None:
        """How far off the stage is by the fields that are found where they must be if it is `off_um`; None if none."""
        for landmark in reversed(landmarks):
            left_um = self._off_um(landmark, off_um)
            if left_um is not None and self._steps.is_no_matter(left_um):
                return off_um[0] + left_um[0], off_um[1] + left_um[1]
        return None

    def _off_um(self, landmark: Sight, off_um: Offset = (0.0, 0.0)) -> Offset | None:
        """By how much farther the stage stands than it says, beyond `off_um`, by a field that is gone back to."""
        planned = landmark.planned
        self._z.start_field()
        try:
            self._xy.move_to(planned.x_um - off_um[0], planned.y_um - off_um[1])
            self._z.approach_from_below(self._z.reachable_um(landmark.z_um))
        except (LimitError, BudgetError):
            return None
        now = self._steps.sight(planned, self._snap(), landmark.z_um)
        return None if now is None else self._steps.off_um(now, landmark)
