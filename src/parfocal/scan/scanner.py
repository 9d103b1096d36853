"""The scan itself, from the first search to the last field: lamp lit, fields handed over, every end a tidy one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from parfocal.devices.approach import lamp_lit
from parfocal.devices.base import Frame, Truth
from parfocal.devices.microscope import Microscope
from parfocal.errors import FileError, InstrumentError, ScanStoppedError
from parfocal.focus.field import eyes_of
from parfocal.focus.predictor import Predictor
from parfocal.scan.journal import Beat, Journal, no_beat
from parfocal.scan.pause import ScanSwitch
from parfocal.scan.plan import ScanPlan
from parfocal.scan.progress import OnField, ScanSummary
from parfocal.scan.run import ScanRun
from parfocal.scan.settings import ScanSettings
from parfocal.slide.fields.records import FieldRecord

BORDER_SPARE = 0.06
"""Share of the frame's side by which neighbours may share more than planned."""


class FieldSink(Journal, Protocol):
    """Takes what a scan hands over (`slide.fields_writer.FieldsWriter`)."""

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
    with told_apart(lambda: f"after {run.fields_done} of {len(plan)} fields", writer), lamp_lit(microscope.lamp):
        sweep = run.find_focus()
        take_all(run, run.fields(), microscope, writer, on_field, switch, beat)
        return finish(run.summary(sweep), writer)


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
