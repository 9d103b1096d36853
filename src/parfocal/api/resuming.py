"""A scan that broke off, opened again from what its folder tells, and gone on with; or looked through for damage."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from parfocal.api.refusals import changes_since, refusal, refuse_what_does_not_fit
from parfocal.api.scanning import OnProgress, OnStitch, finish, scanning, told
from parfocal.config import Instrument, open_microscope
from parfocal.config.tables import read_instrument_file
from parfocal.errors import FileError, SettingsError
from parfocal.focus.predictor import Predictor
from parfocal.scan.journal import Beat, no_beat
from parfocal.scan.pause import ScanSwitch
from parfocal.scan.plan import ScanPlan
from parfocal.scan.report import TruthLedger
from parfocal.scan.rescan import read_report
from parfocal.scan.resume import ended, resume_fields
from parfocal.slide.fields.disk import check_room
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.made import is_made
from parfocal.slide.fields.records import FieldsHeader, Origin
from parfocal.slide.fields.verify import Verified, verify_fields
from parfocal.supervisor.overseen import overseen


@dataclass(frozen=True)
class Reopened:
    """What a scan is gone on with: the instrument and its predictor. A context manager that lets go of the devices.

    Attributes:
        instrument: with the policy of the scan.
        predictor: by the network of the scan.
        stays_open: whether the devices are somebody else's, who goes on using them.
    """

    instrument: Instrument
    predictor: Predictor
    stays_open: bool = False

    def __enter__(self) -> Reopened:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.stays_open:
            self.instrument.close()


def needs_instrument(folder: Path | str) -> bool:
    """Whether fields of a scan may be missing; where they are not, `resume` needs no instrument.

    Raises:
        FileError: if the folder holds no scan, or cannot be read.
    """
    return ended(FieldsFolder(Path(folder))) is None


def open_again(folder: Path | str, name: str | None = None, *, network: Path | None = None) -> Reopened:
    """Open the instrument that a scan was begun with, from what its folder tells.

    Args:
        folder: of the scan.
        name: a built-in instrument's name, or the path of a TOML file; the scan's if None.
        network: ONNX file; the scan's if None.

    Raises:
        SettingsError: if the folder does not tell from what its instrument was opened.
        FileError, InstrumentError: as `open_microscope`.
    """
    header = FieldsFolder(Path(folder)).header
    origin = _origin(header, Path(folder))
    opened = open_microscope(
        name or origin.microscope,
        origin.specimen or None,
        header.seed,
        calibration=origin.calibration or None,
        accept_stale=True,
    )
    with ExitStack() as on_failure:
        on_failure.callback(opened.close)
        instrument = replace(_told_again(opened, header), specimen=header.specimen)
        reopened = Reopened(instrument, instrument.predictor(network or _network(origin)))
        on_failure.pop_all()
    return reopened


def open_already(folder: Path | str, instrument: Instrument) -> Reopened:
    """An instrument that is open, to go on with a scan that was begun with it. It stays open afterwards.

    Raises:
        SettingsError: if the folder does not tell from what its instrument was opened.
        FileError: if the folder holds no scan, or its network cannot be read.
    """
    header = FieldsFolder(Path(folder)).header
    path = _network(_origin(header, Path(folder)))
    return Reopened(_told_again(instrument, header), instrument.predictor(path), stays_open=True)


def _told_again(instrument: Instrument, header: FieldsHeader) -> Instrument:
    """The instrument with the policy and the choice of fields that a scan was begun with."""
    policy, everywhere = header.settings.get("policy"), header.settings.get("everywhere")
    return replace(instrument, settings=scanning(instrument.settings, policy, everywhere))


def _network(origin: Origin) -> Path | None:
    return Path(origin.network) if origin.network else None


def resume(
    folder: Path | str,
    opened: Reopened | None = None,
    *,
    accept_changes: bool = False,
    on_progress: OnProgress | None = None,
    on_stitch: OnStitch | None = None,
    switch: ScanSwitch | None = None,
    beat: Beat = no_beat,
) -> dict[str, Any]:
    """Go on with a scan that broke off, in whatever way, and make its slide. Where all is done, nothing is.

    Args:
        folder: of the scan.
        opened: instrument and predictor; by `open_again` if None.
        accept_changes: go on although instrument, settings, network, program or slide are not what they were; journal
            and report say so. Frames of another shape or scale, and fields beyond the stage's reach, are refused still.
        on_progress: called after each field.
        on_stitch: called while reading and stitching with what, how many are done, how many there are.
        switch: pauses, continues or ends it from another thread.
        beat: called at every move and exposure: whoever watches knows that it has not hung.

    Returns:
        The report, as in `report.json`.

    Raises:
        SettingsError: if something has changed, or the folder does not tell from what it was opened; nothing has moved.
        FileError: if the folder cannot be read or written.
        ScanStoppedError: if instrument or disk fail, the slide is another one, or it is interrupted again.
    """
    began_s, path = time.monotonic(), Path(folder)
    with ExitStack() as stack:
        if opened is not None:
            stack.enter_context(opened)
        fields = FieldsFolder(path)
        summary = ended(fields)
        if summary is not None and is_made(fields):
            return read_report(fields)
        plan = _plan(fields)
        if summary is not None:
            check_room(path, len(fields.records), fields.header.frame_shape, to_take=0)
            return finish(path, plan, summary, _ledger_without_devices(fields), began_s, on_stitch)
        reopened = opened or stack.enter_context(open_again(path))
        instrument, predictor = reopened.instrument, reopened.predictor
        refuse_what_does_not_fit(fields, plan, instrument)
        found = changes_since(fields, plan, instrument, predictor)
        if found and not accept_changes:
            raise refusal(fields, found)
        check_room(path, len(plan), fields.header.frame_shape, to_take=len(plan) - len(fields.records))
        ledger = TruthLedger(instrument.truth) if instrument.truth else None
        with overseen(instrument) as seen:
            summary = resume_fields(
                seen.microscope, instrument.settings, predictor, plan, fields, told(ledger, on_progress),
                instrument.truth, changes=found, same_slide=not accept_changes, on_record=_records_as(on_stitch),
                switch=switch, beat=beat,
            )  # fmt: skip
        return finish(path, plan, summary, ledger, began_s, on_stitch)


def verify(folder: Path | str, on_progress: OnStitch | None = None) -> Verified:
    """Read every line and every frame of a fields folder, and say what is missing or damaged.

    Raises:
        FileError: if it is no fields folder, or cannot be read.
    """
    return verify_fields(Path(folder), on_progress)


def _records_as(on_stitch: OnStitch | None) -> Callable[[int, int], None] | None:
    return None if on_stitch is None else lambda done, total: on_stitch("reading fields", done, total)


def _origin(header: FieldsHeader, folder: Path) -> Origin:
    if header.origin is None:
        raise SettingsError(
            f"{folder}: was scanned by version {header.version}, which did not write down how its instrument was "
            f"opened; what it holds can be stitched"
        )
    return header.origin


def _plan(fields: FieldsFolder) -> ScanPlan:
    try:
        return ScanPlan.from_json(fields.header.plan)
    except (KeyError, TypeError, ValueError) as error:
        raise FileError(f"{fields.path}: the header holds no plan that can be gone on with: {error}") from error


def _ledger_without_devices(fields: FieldsFolder) -> TruthLedger | None:
    """What a simulated instrument knows; a real one is not even opened."""
    origin = fields.header.origin
    if origin is None or all(record.true_stage_um is None for record in fields.records):
        return None
    if read_instrument_file(origin.microscope).kind != "simulated":
        return None
    truth = open_microscope(origin.microscope, origin.specimen, fields.header.seed).truth
    return None if truth is None else TruthLedger(truth)
