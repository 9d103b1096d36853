"""The scan itself, from the first search to the last field: lamp lit, fields handed over, every end a tidy one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from parfocal.devices.approach import lamp_lit
from parfocal.devices.base import Frame, Lamp, Truth
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

_LIT_AT_MOST_S = 2.0  # while the disk is waited for
_LOOK_EVERY_S = 0.05


class FieldSink(Journal, Protocol):
    """Takes what a scan hands over (`slide.fields_writer.FieldsWriter`)."""

    @property
    def path(self) -> Path:
        """The folder that it is written to."""

    @property
    def attempts(self) -> int:
        """How many attempts at fields it was ever given, now and before."""

    @property
    def has_room(self) -> bool:
        """Whether one more field would not wait for the disk."""

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
    to_disk = partial(written, writer, microscope.lamp)
    regaining = Regaining(microscope, settings, eyes, plan, truth, writer, beat, to_disk)
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
                return finish(run.summary(sweep), self.writer, self.microscope.lamp)


def written(writer: FieldSink, lamp: Lamp) -> FieldsFolder:
    """What was handed over, read from the disk, the lamp off meanwhile. Raises FileError if that does not work."""
    lamp.off()
    writer.sync()
    folder = FieldsFolder(writer.path)
    lamp.on()
    return folder


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
        wait_for_disk(writer, microscope.lamp, beat)
        writer.put(record, frame)
        on_field(record, run.progress())
        if switch is None:
            continue
        if switch.is_paused:
            writer.note("paused")
        if not switch.wait(microscope.lamp, beat):
            raise ScanStoppedError(f"stopped as asked after {run.fields_done} fields")


def wait_for_disk(writer: FieldSink, lamp: Lamp, beat: Beat) -> None:
    """Return when the writer has room, mostly at once. A lit lamp is put out where that lasts, and lit again.

    A scan that stood still with its lamp lit would bleach the slide, and its supervisor would end it as hung.
    """
    lit_until_s, is_dark = time.monotonic() + _LIT_AT_MOST_S, False
    while not writer.has_room:
        beat()
        if not is_dark and time.monotonic() >= lit_until_s:
            writer.note("waiting for the disk")
            lamp.off()
            is_dark = True
        time.sleep(_LOOK_EVERY_S)
    if is_dark:
        lamp.on()


def finish(summary: ScanSummary, writer: FieldSink, lamp: Lamp) -> ScanSummary:
    """Write down that every field was taken, and what that came to; it is on disk afterwards, and the lamp is off."""
    writer.note("ended", summary=summary.to_json(), attempts=writer.attempts)
    lamp.off()  # the disk may take its time
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
