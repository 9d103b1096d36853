"""The scan itself, from the first search to the last field: lamp lit, fields handed over, every end a tidy one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from parfocal.devices.approach import lamp_lit
from parfocal.devices.base import Frame, Truth
from parfocal.devices.microscope import Microscope
from parfocal.errors import FileError, InstrumentError, LostStepsError, ScanStoppedError
from parfocal.focus.field import eyes_of
from parfocal.focus.predictor import Predictor
from parfocal.focus.search import SweepResult
from parfocal.scan.journal import Beat, Journal, no_beat
from parfocal.scan.pause import ScanSwitch
from parfocal.scan.plan import ScanPlan
from parfocal.scan.progress import OnField, ScanSummary
from parfocal.scan.regain import Regaining
from parfocal.scan.run import ScanRun
from parfocal.scan.settings import ScanSettings
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.records import FieldRecord

BORDER_SPARE = 0.06
"""Share of the frame's side by which neighbours may share more than planned."""


class FieldSink(Journal, Protocol):
    """Takes what a scan hands over (`slide.fields_writer.FieldsWriter`)."""

    @property
    def path(self) -> Path:
        """The folder that it is written to."""

    def put(self, record: FieldRecord, frame: Frame) -> None:
        """One field and its kept frame."""

    def sync(self) -> None:
        """Return when all of it is on disk. Raises FileError if something could not be written."""


def scan_fields(
    microscope: Microscope,
    settings: ScanSettings,
    predictor: Predictor,
    plan: ScanPlan,
    writer: FieldSink,
    on_field: OnField,
    truth: Truth | None = None,
    *,
    switch: ScanSwitch | None = None,
    beat: Beat = no_beat,
) -> ScanSummary:
    """Scan the planned fields (paper, section 4.3). The lamp is off afterwards, whatever happens.

    Sparse fields are visited first and show where the tissue is and how the slide lies; then the tissue and its border;
    then, once more, the fields whose frame is in doubt.

    Args:
        microscope: the instrument.
        settings: how it focuses.
        predictor: defocus from pairs of frames.
        plan: fields in the order of the visit.
        writer: takes each field's record and kept frame, and every move.
        on_field: called after each field.
        truth: of a simulated instrument; it is only written down.
        switch: pauses or ends the scan between two fields.
        beat: called at every move and exposure, and while the scan is paused.

    Raises:
        SettingsError: if the stage's slack is larger than it is set up for; nothing was scanned.
        ScanStoppedError: if the instrument or the disk fails, or the scan is interrupted; the fields so far are kept.
    """
    eyes = eyes_of(microscope, predictor, plan.overlap + BORDER_SPARE)
    run = ScanRun(microscope, settings, eyes, plan, truth, writer, beat)
    regaining = Regaining(microscope, settings, eyes, plan, truth, writer, beat, lambda: written(writer))
    taking = Taking(run, regaining, microscope, writer, on_field, switch, beat, len(plan))
    with told_apart(taking.how_far, writer), lamp_lit(microscope.lamp):
        sweep = run.find_focus()
        return taking.to_the_end(sweep)


@dataclass
class Taking:
    """Takes what a run has not come to; where the stage loses steps, another run goes on."""

    run: ScanRun
    regaining: Regaining
    microscope: Microscope
    writer: FieldSink
    on_field: OnField
    switch: ScanSwitch | None
    beat: Beat
    fields: int

    def how_far(self) -> str:
        """In words."""
        return f"after {self.run.fields_done} of {self.fields} fields"

    def to_the_end(self, sweep: SweepResult) -> ScanSummary:
        """All fields. Raises InstrumentError if the stage loses its place for good, and as `take_all`."""
        while True:
            run = self.run
            try:
                take_all(run, run.fields(), self.microscope, self.writer, self.on_field, self.switch, self.beat)
            except LostStepsError as error:
                assert run.loss is not None
                self.run = self.regaining.begin_again(run.loss, error)
            else:
                return finish(run.summary(sweep), self.writer)


def written(writer: FieldSink) -> FieldsFolder:
    """What was handed over, read from the disk. Raises FileError if it cannot be written or read."""
    writer.sync()
    return FieldsFolder(writer.path)


def take_all(
    run: ScanRun,
    fields: Iterator[tuple[FieldRecord, Frame]],
    microscope: Microscope,
    writer: FieldSink,
    on_field: OnField,
    switch: ScanSwitch | None,
    beat: Beat,
) -> None:
    """Take fields one after the other and hand them over; wait between them, or stop, where the switch says so.

    Raises:
        ScanStoppedError: if the switch ends the scan.
    """
    for record, frame in fields:
        writer.put(record, frame)
        on_field(record, run.progress())
        if switch is None:
            continue
        if switch.is_paused:
            writer.note("paused")
        if not switch.wait(microscope.lamp, beat):
            raise ScanStoppedError(f"stopped as asked after {run.fields_done} fields")


def finish(summary: ScanSummary, writer: FieldSink) -> ScanSummary:
    """Write down that every field was taken, and what that came to; it is on disk afterwards."""
    writer.note("ended", summary=summary.to_json())
    writer.sync()
    return summary


@contextmanager
def told_apart(done: Callable[[], str], writer: Journal) -> Iterator[None]:
    """Whatever ends a scan early becomes a ScanStoppedError that says how far it came, and stands in the journal."""
    try:
        yield
    except (InstrumentError, FileError) as error:
        raise _stopped(f"stopped {done()}: {error}", writer) from error
    except KeyboardInterrupt as error:
        raise _stopped(f"interrupted {done()}", writer) from error
    except ScanStoppedError as error:
        raise _stopped(str(error), writer) from error.__cause__


def _stopped(why: str, writer: Journal) -> ScanStoppedError:
    writer.note("stopped", why=why)
    return ScanStoppedError(why)
