"""Scans, stitchings and exports that are killed at random instants, gone on with, and compared with one that was not.

Each is a process of its own and ends by SIGKILL. What was on disk then must be there afterwards, byte for byte, once.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib import resources
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Literal

import numpy as np

from parfocal.benchmark.painted import PaintedScan, painted_header, painted_scan, surface_um
from parfocal.devices.microscope import Microscope
from parfocal.devices.simulated import SimulatedLamp
from parfocal.devices.watched import watched
from parfocal.durable import PART_SUFFIX
from parfocal.errors import ParfocalError
from parfocal.scan.progress import ScanProgress
from parfocal.scan.resume import ended, resume_fields
from parfocal.scan.scanner import scan_fields
from parfocal.slide.export import export
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.layout import HEADER_FILE, RECORDS_FILE, SLIDE_FILE
from parfocal.slide.fields.records import FieldRecord
from parfocal.slide.fields.verify import verify_fields
from parfocal.slide.fields.writer import FieldsWriter
from parfocal.slide.stitch import stitch

Phase = Literal["scan", "stitch", "export"]
Oversee = Callable[[Microscope, str], AbstractContextManager[Microscope]]
"""Puts an instrument under watch for a block, and a supervisor beside it that knows its lamp by a name."""

Progress = Callable[[str, int, int], None]

DARK_WITHIN_S = 2.0
MISPLACED_PX = 1.0

_SIDE_MM = 0.25
_PHASES: tuple[Phase, ...] = ("scan", "stitch", "scan", "export")  # half of the kills while it scans
_SINCE = {"scan": 0.1, "light": 0.2, "fields": 0.7}  # shares of those by what has begun: a process, light, fields
_PATIENCE_S = 300.0
_LAMP_PATIENCE_S = 30.0
_MISSES = 5


@dataclass(frozen=True)
class Kill:
    """One of them.

    Attributes:
        phase: what was going on.
        after_s: how long it had been.
        durable: fields on disk at that moment.
        lost: of those, how many are not there any more, or not byte for byte.
        duplicated: fields that are there twice.
        dark_s: how long the lamp was lit after the kill; 0 where it was off already.
        verdicts: fields taken afterwards whose verdict is another than without the kill.
        z_off: fields taken afterwards that truly lie farther than half the depth of field from best focus, and do not
            without the kill. Where the stage truly stands its own count does not matter: a zero that was found again
            elsewhere neither helps nor harms.
        error_px: largest error of a field's place in the mosaic.
        failure: why it could not be gone on with; empty if it could.
        changed: slides and exports that are not byte for byte those made without the kill, of the same fields.
        leftovers: files and folders that were written aside and are still there.
        defocus_um: how far the worst field taken afterwards truly lies from best focus, in µm.
        apart_um: by how much the worst one lies elsewhere, against best focus, than without the kill, in µm; each of
            the two has the errors of its own stage and network.
    """

    phase: Phase
    after_s: float
    durable: int
    lost: int
    duplicated: int
    dark_s: float
    verdicts: int
    z_off: int
    error_px: float
    failure: str
    changed: int = 0
    leftovers: int = 0
    defocus_um: float = 0.0
    apart_um: float = 0.0

    @property
    def lamp_left_on(self) -> bool:
        """Whether the lamp was lit for longer than it may be."""
        return self.dark_s > DARK_WITHIN_S


class Killing:
    """A place for kills, and a scan that was left alone, to compare with.

    Args:
        folder: for everything; there, and empty.
        oversee: starts the supervisor.
        seed: of the instants.
    """

    def __init__(self, folder: Path, oversee: Oversee, seed: int = 0) -> None:
        self._folder = folder
        self._oversee = oversee
        self._rng = np.random.default_rng(seed)
        self._lamp_file = folder / "lamp"
        self._lamp_name = str(folder / "painted.toml")
        _write_instrument(Path(self._lamp_name), self._lamp_file)
        self._left_alone = folder / "left-alone"
        self._durations_s = self._leave_alone()
        self._products = products(self._left_alone)
        self._reference = {record.index: record for record in FieldsFolder(self._left_alone).records}

    def run(self, kills: int, progress: Progress) -> list[Kill]:
        """Kill so often, in turn while it scans, stitches and exports."""
        done = []
        for number in range(kills):
            done.append(self._kill(_PHASES[number % len(_PHASES)], number))
            progress("killing", number + 1, kills)
        return done

    def _leave_alone(self) -> dict[str, float]:
        """Scan, stitch and export without a kill; how long each took; "scan" ends, here, where "light" begins."""
        with self._working(self._left_alone, 1, watch=True) as (_, marks):
            began = {}
            while (mark := marks.recv()) != "done":
                _raise_failure(mark)
                if isinstance(mark, str):
                    began[mark] = time.monotonic()
                for what in ("light", "fields") if mark == "scan" else ():
                    self._await(what, self._left_alone, marks)
                    began[what] = time.monotonic()
            ends = [*list(began.values())[1:], time.monotonic()]
        return {what: end - began[what] for what, end in zip(began, ends, strict=True)}

    def _await(self, what: str, folder: Path, marks: Connection) -> None:
        """Return when the lamp is lit, or the first field is on disk."""
        lamp, records = SimulatedLamp(self._lamp_file), folder / RECORDS_FILE
        while not marks.poll():
            if lamp.is_on if what == "light" else records.exists() and records.stat().st_size > 0:
                return
            time.sleep(0.002)

    def _kill(self, phase: Phase, number: int) -> Kill:
        folder = self._folder / f"killed-{number}"
        for _ in range(_MISSES):
            shutil.rmtree(folder, ignore_errors=True)
            if phase != "scan":
                shutil.copytree(self._left_alone, folder)
            since = str(self._rng.choice(list(_SINCE), p=list(_SINCE.values()))) if phase == "scan" else phase
            after_s = float(self._rng.uniform(0.0, self._durations_s[since]))
            still_at_it, dark_s = self._kill_once(phase, folder, number, since, after_s)
            if still_at_it:
                break
        before = _on_disk(folder)
        error_px, failure = self._go_on(phase, folder, number)
        kill = self._compared(phase, after_s, folder, before, dark_s, error_px, failure)
        shutil.rmtree(folder)
        shutil.rmtree(_exported(folder).parent, ignore_errors=True)
        return kill

    def _kill_once(self, phase: Phase, folder: Path, number: int, since: str, after_s: float) -> tuple[bool, float]:
        """Whether it was still at it when the instant came; and for how long the lamp was lit after it, in s."""
        with self._working(folder, 100 + number, watch=phase == "scan", phases=(phase,)) as (process, marks):
            while (mark := marks.recv()) != phase:
                _raise_failure(mark)
            if since in ("light", "fields"):
                self._await(since, folder, marks)
            time.sleep(after_s)
            still_at_it = not marks.poll()
            process.kill()
            return still_at_it, self._dark_after_s()

    def _go_on(self, phase: Phase, folder: Path, number: int) -> tuple[float, str]:
        """Do what was not done: the largest error of a field's place in px, and why it cannot be done."""
        error_px = 0.0
        phases: tuple[Phase, ...] = ("export",) if phase == "export" else ("scan", "stitch")
        with self._working(folder, 10_000 + number, watch=False, phases=phases) as (process, marks):
            try:
                while (mark := marks.recv()) != "done":
                    _raise_failure(mark)
                    error_px = mark if isinstance(mark, float) else error_px
            except (ParfocalError, EOFError) as error:
                return error_px, str(error) or "the process ended without a word"
            process.join(_PATIENCE_S)
        return error_px, ""

    @contextmanager
    def _working(
        self, folder: Path, seed: int, *, watch: bool, phases: tuple[Phase, ...] = ("scan", "stitch", "export")
    ) -> Iterator[tuple[BaseProcess, Connection]]:
        processes = multiprocessing.get_context("fork")  # what is imported already need not be imported again
        marks, told = processes.Pipe(duplex=False)
        oversee = self._oversee if watch else _watched_only
        process = processes.Process(
            target=_work, args=(folder, seed, self._lamp_file, self._lamp_name, oversee, phases, told)
        )
        process.start()
        told.close()
        try:
            yield process, marks
        finally:
            if process.is_alive():
                process.join(_PATIENCE_S)
            process.kill()
            process.join()
            marks.close()

    def _dark_after_s(self) -> float:
        lamp, began_s = SimulatedLamp(self._lamp_file), time.monotonic()
        if not lamp.is_on:
            return 0.0
        while lamp.is_on and time.monotonic() - began_s < _LAMP_PATIENCE_S:
            time.sleep(0.005)
        return time.monotonic() - began_s

    def _compared(
        self,
        phase: Phase,
        after_s: float,
        folder: Path,
        before: dict[str, str],
        dark_s: float,
        error_px: float,
        failure: str,
    ) -> Kill:
        scan = painted_scan(_SIDE_MM)
        if failure:
            return Kill(phase, after_s, len(before), len(before), 0, dark_s, 0, 0, 0.0, failure)
        after, verified = _on_disk(folder), verify_fields(folder)
        records = FieldsFolder(folder).records
        if len(records) != len(scan.plan) or not verified.is_sound:
            failure = f"{len(records)} of {len(scan.plan)} fields; {'; '.join(verified.problems)}"
        fresh = [(record, self._reference[record.index]) for record in records if record.file not in before]
        z_off, defocus_um, apart_um = compare_focus(fresh, scan.microscope.depth_of_field_um / 2)
        return Kill(
            phase,
            after_s,
            len(before),
            lost=sum(after.get(file) != digest for file, digest in before.items()),
            duplicated=verified.duplicates,
            dark_s=dark_s,
            verdicts=sum(record.verdict != other.verdict for record, other in fresh),
            z_off=z_off,
            error_px=error_px,
            failure=failure,
            changed=0 if phase == "scan" else self._changed(products(folder)),
            leftovers=len(left_aside(folder)),
            defocus_um=defocus_um,
            apart_um=apart_um,
        )

    def _changed(self, made: dict[str, str]) -> int:
        return sum(self._products[name] != digest for name, digest in made.items())


def _work(
    folder: Path,
    seed: int,
    lamp_file: Path,
    lamp_name: str,
    oversee: Oversee,
    phases: tuple[Phase, ...],
    told: Connection,
) -> None:
    """What is killed: scan, or go on with it, then stitch, then export. Tells when each begins."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what the supervisor says of each kill is known
    try:
        if "scan" in phases:
            told.send("scan")
            scan = painted_scan(_SIDE_MM, seed, lamp_file)
            with oversee(scan.microscope, lamp_name) as microscope:
                _scan_or_resume(folder, scan, microscope)
        if "stitch" in phases:
            told.send("stitch")
            told.send(stitch(folder).max_error_px or 0.0)
        if "export" in phases:
            told.send("export")
            export(folder, _exported(folder), ["tiff"], overwrite=True)
        told.send("done")
    except ParfocalError as error:
        told.send(error)


def _scan_or_resume(folder: Path, scan: PaintedScan, microscope: Microscope) -> None:
    if not (folder / HEADER_FILE).exists():  # it had not begun: nothing has moved
        shutil.rmtree(folder, ignore_errors=True)
        with FieldsWriter(folder, painted_header(scan)) as writer:
            scan_fields(microscope, scan.settings, scan.predictor, scan.plan, writer, _nobody_looks, scan.truth)
        return
    fields = FieldsFolder(folder)
    if ended(fields) is None:
        resume_fields(microscope, scan.settings, scan.predictor, scan.plan, fields, _nobody_looks, scan.truth)


def compare_focus(taken: Sequence[tuple[FieldRecord, FieldRecord]], half_um: float) -> tuple[int, float, float]:
    """Fields of the painted slide as they were taken now, and then: `Kill`'s `z_off`, `defocus_um` and `apart_um`.

    Args:
        taken: records of the same field now and then, with their true places.
        half_um: half the depth of field in µm.
    """
    both_um = [(_defocus_um(now), _defocus_um(then)) for now, then in taken]
    return (
        sum(abs(now) > half_um >= abs(then) for now, then in both_um),
        max((abs(now) for now, _ in both_um), default=0.0),
        max((abs(now - then) for now, then in both_um), default=0.0),
    )


def _defocus_um(record: FieldRecord) -> float:
    """Signed, by where the stage truly stood."""
    assert record.true_stage_um is not None
    x_um, y_um, z_um = record.true_stage_um
    return z_um - surface_um(x_um, y_um)


def _nobody_looks(_record: FieldRecord, _progress: ScanProgress) -> None:
    """Progress is of no interest."""


@contextmanager
def _watched_only(microscope: Microscope, _lamp_name: str) -> Iterator[Microscope]:
    yield watched(microscope)


def _exported(folder: Path) -> Path:
    return folder.with_name(folder.name + "-exported") / "slide.tif"


def _on_disk(folder: Path) -> dict[str, str]:
    """SHA-256 of every frame that a record tells of, by its file; none before there is a header."""
    if not (folder / HEADER_FILE).exists():
        return {}
    attempts = FieldsFolder(folder).attempts
    return {record.file: hashlib.sha256((folder / record.file).read_bytes()).hexdigest() for record in attempts}


def products(folder: Path) -> dict[str, str]:
    """SHA-256 of the slide that was stitched of a folder, and of what was exported of it, by name; of those made."""
    made = {"slide": folder / SLIDE_FILE, "export": _exported(folder)}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in made.items() if path.is_file()}


def left_aside(folder: Path) -> list[Path]:
    """What was being written, of a folder or of what was exported of it, and is still there."""
    return [part for place in (folder, _exported(folder).parent) for part in place.rglob("*" + PART_SUFFIX)]


def _raise_failure(mark: object) -> None:
    if isinstance(mark, ParfocalError):
        raise mark


def _write_instrument(path: Path, lamp_file: Path) -> None:
    """A file by which the supervisor finds the lamp: nothing else of it is used."""
    built_in = (resources.files("parfocal") / "instruments" / "simulated-20x.toml").read_text(encoding="utf-8")
    table = f'lamp_file = "{lamp_file.as_posix()}"\n'
    if "[simulated]\n" in built_in:
        text = built_in.replace("[simulated]\n", f"[simulated]\n{table}")
    else:
        text = f"{built_in}\n[simulated]\n{table}"
    path.write_text(text, encoding="utf-8")
