"""Fields of a finished scan, taken again: those in doubt, or those that somebody names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from parfocal.devices.approach import lamp_lit
from parfocal.devices.base import Truth
from parfocal.devices.microscope import Microscope
from parfocal.documents import read_json
from parfocal.errors import FileError, SettingsError
from parfocal.focus.field import eyes_of
from parfocal.focus.predictor import Predictor
from parfocal.scan.journal import Beat, journalled, no_beat
from parfocal.scan.lost_steps import astray, suspects_of, without_suspects
from parfocal.scan.pause import ScanSwitch
from parfocal.scan.plan import ScanPlan
from parfocal.scan.progress import OnField, ScanProgress
from parfocal.scan.run import ScanRun
from parfocal.scan.scanner import BORDER_SPARE, take_all, told_apart
from parfocal.scan.settings import ScanSettings
from parfocal.scan.whereabouts import find_again, known_fields, shifted
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.layout import REPORT_FILE
from parfocal.slide.fields.records import FieldRecord
from parfocal.slide.fields.writer import FieldsWriter


def fields_in_doubt(folder: FieldsFolder) -> list[int]:
    """Fields that a scan ended with in doubt: unsure, failed, on its report's list, or astray since.

    Raises:
        FileError: if the report is missing or is none.
    """
    listed = read_report(folder).get("fields_in_doubt", [])
    if not isinstance(listed, list) or not all(isinstance(index, int) for index in listed):
        raise FileError(f"{folder.path / REPORT_FILE}: fields_in_doubt is not a list of numbers")
    unsettled = {record.index for record in folder.records if record.verdict in ("unsure", "failed")}
    return sorted(unsettled.union(listed, astray(folder)))


def read_report(folder: FieldsFolder) -> dict[str, Any]:
    """The report of a finished scan. Raises FileError if it is missing or is none."""
    path = folder.path / REPORT_FILE
    if not path.exists():
        raise FileError(f"{path}: is not there, was the scan finished?")
    return read_json(path)


def rescan_fields(
    microscope: Microscope,
    settings: ScanSettings,
    predictor: Predictor,
    plan: ScanPlan,
    folder: FieldsFolder,
    indices: Sequence[int],
    on_field: OnField,
    truth: Truth | None = None,
    *,
    switch: ScanSwitch | None = None,
    beat: Beat = no_beat,
) -> ScanRun:
    """Take fields again, with a checked pair each, and add them to the folder. The lamp is off afterwards.

    The foci that the scan measured are gone by. As in a resume, up to three fields are visited before, and by how much
    focus and pictures have moved is taken out; the slide must be the same, and lie as it did to within half a frame.

    A stage that loses steps ends it. What was taken since does not lie where it says, and is taken again by a resume,
    and by the next rescan, whatever fields that one is asked for.

    Args:
        microscope: the instrument.
        settings: how it focuses.
        predictor: defocus from pairs of frames.
        plan: the scan's.
        folder: the scan.
        indices: fields to take again.
        on_field: called after each.
        truth: of a simulated instrument; it is only written down.
        switch: pauses or ends it between two fields.
        beat: called at every move and exposure.

    Raises:
        SettingsError: if a field was not visited by the scan, or no focus was measured in it.
        ScanStoppedError: if no focus is found again, the slide is another one, instrument or disk fail, or the command
            is interrupted; what was taken is kept.
        FileError: if the folder cannot be read.
    """
    visited = {record.index for record in folder.records}
    unknown = [index for index in indices if index not in visited]
    if unknown:
        raise SettingsError(f"field {unknown[0]} is none of the {len(visited)} that {folder.path} holds")
    wanted = sorted({*indices, *astray(folder)})
    if not any(record.focus.get("focus_sd_um") is not None for record in folder.records):
        raise SettingsError(f"{folder.path}: no field's focus was measured, there is nothing to go by")
    eyes = eyes_of(microscope, predictor, plan.overlap + BORDER_SPARE)
    done = 0

    def count(record: FieldRecord, progress: ScanProgress) -> None:
        nonlocal done
        done += 1
        on_field(record, progress)

    with FieldsWriter.reopen(folder) as writer:
        with told_apart(lambda: "while fields were looked for", writer):
            noted = journalled(microscope, writer, beat)
            sound = without_suspects(folder, suspects_of(folder))
            known = known_fields(sound)
            with lamp_lit(microscope.lamp):
                where = find_again(noted, settings, eyes, sound, known)
            run = ScanRun(shifted(microscope, where, settings.limits), settings, eyes, plan, truth, writer, beat)
            run.recall(folder)
        run.go_on_from(folder, where.sightings, where.images)
        writer.note("taking again", fields=wanted, **where.to_json())
        with told_apart(lambda: f"after {done} of {len(wanted)} fields", writer), lamp_lit(microscope.lamp):
            take_all(run, run.again(wanted), microscope, writer, count, switch, beat)
            writer.note("taken again", fields=done)
            microscope.lamp.off()  # the disk may take its time
            writer.sync()
    return run
