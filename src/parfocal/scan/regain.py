"""A scan whose x-y stage lost steps, gone on with: its place is found again, what was taken since is taken again."""

from __future__ import annotations

from collections.abc import Callable

from parfocal.devices.base import Truth
from parfocal.devices.microscope import Microscope
from parfocal.errors import InstrumentError, LostStepsError
from parfocal.focus.field import Eyes
from parfocal.scan.journal import Beat, Journal, journalled
from parfocal.scan.lost_steps import Doubt, suspects_of, without_suspects
from parfocal.scan.plan import ScanPlan
from parfocal.scan.run import ScanRun
from parfocal.scan.settings import ScanSettings
from parfocal.scan.whereabouts import Whereabouts, find_again, home, known_fields, shifted
from parfocal.slide.fields.folder import FieldsFolder

LOSSES_AT_MOST = 5
"""How often a stage may lose steps in one scan."""


class Regaining:
    """Begins a run anew where steps were lost.

    Args:
        microscope: the instrument.
        settings: how it scans.
        eyes: what looks at frames.
        plan: all fields.
        truth: of a simulated instrument; it is only written down.
        journal: takes what happens.
        beat: called at every move and exposure.
        written: returns the folder with all that was handed over on disk.
    """

    def __init__(
        self, microscope: Microscope, settings: ScanSettings, eyes: Eyes, plan: ScanPlan, truth: Truth | None,
        journal: Journal, beat: Beat, written: Callable[[], FieldsFolder],
    ) -> None:  # fmt: skip
        self._microscope, self._settings, self._eyes, self._plan = microscope, settings, eyes, plan
        self._truth, self._journal, self._beat, self._written = truth, journal, beat, written
        self._lost_at: list[int] = []

    def begin_again(self, loss: Doubt, error: LostStepsError) -> ScanRun:
        """Let the stages find their reference, or count the steps that were lost; a run that knows what is left to do.

        Raises:
            InstrumentError: if the place is not found again, or steps are lost again and again.
        """
        if loss.index in self._lost_at or len(self._lost_at) >= LOSSES_AT_MOST:
            raise InstrumentError(f"{error}, for the {len(self._lost_at) + 1}th time") from error
        self._lost_at.append(loss.index)
        folder = self._written()
        sound = without_suspects(folder, suspects_of(folder))
        noted = journalled(self._microscope, self._journal, self._beat)
        homed = home(noted)
        if homed:
            where = find_again(noted, self._settings, self._eyes, sound, known_fields(sound))
        elif loss.off_um is not None:
            where = Whereabouts(xy_um=(-loss.off_um[0], -loss.off_um[1]))
        else:
            raise InstrumentError(f"{error}; fields whose place is known are not found again") from error
        self._microscope = shifted(self._microscope, where, self._settings.limits)
        run = ScanRun(
            self._microscope, self._settings, self._eyes, self._plan, self._truth, self._journal, self._beat
        )  # fmt: skip
        run.recall(folder)
        run.go_on_from(folder, where.sightings, where.images)
        self._journal.note("place found again", homed=homed, taken_again=list(run.lost), **where.to_json())
        return run
