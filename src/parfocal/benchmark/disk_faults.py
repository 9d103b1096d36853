"""Faults of the disk while a scan writes, damage to its folder afterwards, and networks that are none."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from parfocal.benchmark.fault_outcome import Ending, Fault, damaged, ending, judge
from parfocal.benchmark.painted import PIXEL_UM, PaintedScan, painted_header, painted_scan
from parfocal.devices.watched import watched
from parfocal.focus.predictor import MAX_NETWORK_BYTES, FocusPredictor
from parfocal.optics.objective import Objective
from parfocal.scan.progress import ScanProgress
from parfocal.scan.resume import ended, resume_fields
from parfocal.scan.scanner import scan_fields
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.layout import FRAMES_FOLDER, HEADER_FILE, JOURNAL_FILE, RECORDS_FILE
from parfocal.slide.fields.records import FieldRecord, FieldsHeader, Frame
from parfocal.slide.fields.verify import verify_fields
from parfocal.slide.fields.writer import FieldsWriter
from parfocal.slide.stitch import stitch

SIDE_MM = 0.25
_AMID = 9  # the file written in the middle of the scan
_SLOW_S = 0.05


@contextmanager
def _failing(owner: Any, name: str, number: int, once: bool = False) -> Iterator[None]:
    """Let calls of a function of the system fail, from one in the middle of the scan on."""
    sound, calls = getattr(owner, name), iter(range(10**9))

    def call(*arguments: Any, **named: Any) -> Any:
        count = next(calls)
        if count == _AMID or (count > _AMID and not once):
            raise OSError(number, os.strerror(number))
        return sound(*arguments, **named)

    with mock.patch.object(owner, name, call):
        yield


@contextmanager
def _half_written() -> Iterator[None]:
    """The disk is full in the middle of a file."""
    sound, calls = Path.write_bytes, iter(range(10**9))

    def write(path: Path, content: bytes) -> int:
        if next(calls) < _AMID:
            return sound(path, content)
        sound(path, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with mock.patch.object(Path, "write_bytes", write):
        yield


@contextmanager
def _slow() -> Iterator[None]:
    sound = os.fsync

    def fsync(descriptor: int) -> None:
        time.sleep(_SLOW_S)
        sound(descriptor)

    with mock.patch.object(os, "fsync", fsync):
        yield


@contextmanager
def _fills_up() -> Iterator[None]:
    """Others write too: the reserve is reached."""
    full = shutil.disk_usage(Path.cwd())._replace(free=2**20)
    sound, calls = shutil.disk_usage, iter(range(10**9))
    with mock.patch.object(shutil, "disk_usage", lambda path: sound(path) if next(calls) < _AMID else full):
        yield


@contextmanager
def _loses_folder(folder: Path) -> Iterator[None]:
    """Somebody removes the folder of the frames."""
    sound, calls = Path.write_bytes, iter(range(10**9))

    def write(path: Path, content: bytes) -> int:
        if next(calls) == _AMID:
            shutil.rmtree(folder / FRAMES_FOLDER)
        return sound(path, content)

    with mock.patch.object(Path, "write_bytes", write):
        yield


_WHILE_SCANNING: dict[str, Callable[[Path], AbstractContextManager[None]]] = {
    "full": lambda _: _failing(Path, "write_bytes", errno.ENOSPC),
    "full-once": lambda _: _failing(Path, "write_bytes", errno.ENOSPC, once=True),
    "half-written": lambda _: _half_written(),
    "fills-up": lambda _: _fills_up(),
    "quota": lambda _: _failing(Path, "write_bytes", errno.EDQUOT),
    "input-output-error": lambda _: _failing(os, "fsync", errno.EIO),
    "read-only": lambda _: _failing(Path, "write_bytes", errno.EROFS),
    "no-rename": lambda _: _failing(Path, "replace", errno.EACCES),
    "network-drive-gone": lambda _: _failing(os, "fsync", errno.ESTALE),
    "too-many-files": lambda _: _failing(Path, "write_bytes", errno.EMFILE),
    "slow": lambda _: _slow(),
    "folder-removed": _loses_folder,
}


def _flip(path: Path, at: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(at * (len(content) - 1))] ^= 0x10
    path.write_bytes(content)


def _cut(path: Path, keep: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])


def _frame(folder: Path) -> Path:
    return sorted((folder / FRAMES_FOLDER).iterdir())[_AMID]


_AFTERWARDS: dict[str, Callable[[Path], None]] = {
    "frame-flipped": lambda folder: _flip(_frame(folder), 0.6),
    "frame-cut": lambda folder: _cut(_frame(folder), 0.5),
    "frame-lost": lambda folder: _frame(folder).unlink(),
    "record-flipped": lambda folder: _flip(folder / RECORDS_FILE, 0.5),
    "records-lost": lambda folder: (folder / RECORDS_FILE).unlink(),
    "last-record-torn": lambda folder: _cut(folder / RECORDS_FILE, 0.98),
    "header-flipped": lambda folder: _flip(folder / HEADER_FILE, 0.5),
    "header-cut": lambda folder: _cut(folder / HEADER_FILE, 0.5),
    "journal-cut": lambda folder: _cut(folder / JOURNAL_FILE, 0.5),
}


def disk_cases() -> list[str]:
    """Kinds of faults of the disk."""
    return [*_WHILE_SCANNING, *_AFTERWARDS]


def run_disk_case(kind: str, folder: Path) -> Fault:
    """Scan a small painted slide onto a disk that goes wrong, or whose files are damaged when it is done.

    Args:
        kind: one of `disk_cases`.
        folder: for the fields; not there yet.
    """
    scan = painted_scan(SIDE_MM, seed=5)
    if kind in _AFTERWARDS:
        return _damage(kind, folder, scan)
    durable: list[str] = []
    with _WHILE_SCANNING[kind](folder):
        outcome, detail = ending(lambda: _scan(folder, scan, durable))
    lost, is_lit = damaged(folder, len(durable)), scan.microscope.lamp.is_on
    if kind == "folder-removed":  # no resume brings back what somebody removed: all that it owes is to say so
        refused, why = _gone_on_with(folder)
        failure = "" if refused == "stopped" else f"without its frames a resume is {refused}: {why}"
        detail = f"{detail}; a resume says: {why}"
        return Fault("disk", kind, outcome, detail, taken_away=lost, lamp_left_on=is_lit, failure=failure)
    failure = _why_not_gone_on_with(folder) if outcome == "stopped" else ""
    return Fault("disk", kind, outcome, detail, lost=lost, lamp_left_on=is_lit, failure=failure)


class _CountingWriter(FieldsWriter):
    """Adds every frame to a list once it and its line are on disk."""

    def __init__(self, path: Path, header: FieldsHeader, durable: list[str]) -> None:
        self._durable = durable
        super().__init__(path, header)

    def _write(self, file: str, frame: Frame, body: str) -> None:
        super()._write(file, frame, body)
        self._durable.append(file)


def _scan(folder: Path, scan: PaintedScan, durable: list[str]) -> tuple[Ending, str]:
    with _CountingWriter(folder, painted_header(scan), durable) as writer:
        summary = scan_fields(
            watched(scan.microscope), scan.settings, scan.predictor, scan.plan, writer, _nobody_looks, scan.truth
        )
    return judge(folder, scan, summary, places=False)


def _why_not_gone_on_with(folder: Path) -> str:
    """Why a scan cannot be resumed, the disk well again. Nothing if its result is as good as without the fault."""
    outcome, detail = _gone_on_with(folder)
    return "" if outcome == "recovered" else detail


def _gone_on_with(folder: Path) -> tuple[Ending, str]:
    """Resume a scan, the disk well again."""
    scan = painted_scan(SIDE_MM, seed=6)

    def resume() -> tuple[Ending, str]:
        fields = FieldsFolder(folder)
        summary = ended(fields) or resume_fields(
            watched(scan.microscope), scan.settings, scan.predictor, scan.plan, fields, _nobody_looks, scan.truth
        )
        return judge(folder, scan, summary, places=False)

    return ending(resume)


def _nobody_looks(_record: FieldRecord, _progress: ScanProgress) -> None:
    """Progress is of no interest."""


def _damage(kind: str, folder: Path, scan: PaintedScan) -> Fault:
    """Either the damage is told, or the slide is the same without what was damaged."""
    _scan(folder, scan, [])
    _AFTERWARDS[kind](folder)

    def read() -> tuple[Ending, str]:
        verified = verify_fields(folder)
        if not verified.is_sound:
            return "stopped", f"parfocal verify: {'; '.join(verified.problems)}"
        if verified.torn:
            return "stopped", f"parfocal verify: {verified.torn} torn, {verified.fields} of {len(scan.plan)} fields"
        stitch(folder)
        fields = len(FieldsFolder(folder).records)
        if damaged(folder, 0):
            return "unnoticed", "a slide was made of what is damaged"
        return "recovered", f"a slide of {fields} of {len(scan.plan)} fields"

    outcome, detail = ending(read)
    failure = _why_not_gone_on_with(folder) if kind == "last-record-torn" else ""
    return Fault("disk", kind, outcome, detail, failure=failure)


def _random(path: Path, _sound: bytes) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(100_000))


def _flipped(share: float) -> Callable[[Path, bytes], None]:
    def write(path: Path, sound: bytes) -> None:
        content = bytearray(sound)
        content[int(share * len(content))] ^= 0x40
        path.write_bytes(content)

    return write


def _too_large(path: Path, sound: bytes) -> None:
    path.write_bytes(sound)
    os.truncate(path, MAX_NETWORK_BYTES + 1)  # takes no room: the rest is a hole


_NETWORKS: dict[str, Callable[[Path, bytes], object]] = {
    "missing": lambda *_: None,
    "empty": lambda path, _: path.write_bytes(b""),
    "folder": lambda path, _: path.mkdir(),
    "link-to-itself": lambda path, _: path.symlink_to(path),
    "text": lambda path, _: path.write_text("no network\n" * 100),
    "zeros": lambda path, _: path.write_bytes(bytes(100_000)),
    "random": _random,
    "pickle": lambda path, _: path.write_bytes(pickle.dumps({"weights": [1.0] * 1000})),
    "head-cut": lambda path, sound: path.write_bytes(sound[100:]),
    "tail-cut": lambda path, sound: path.write_bytes(sound[: len(sound) // 2]),
    "graph-flipped": _flipped(0.0001),
    "contract-flipped": _flipped(0.9999),
    "twice": lambda path, sound: path.write_bytes(sound + sound),
    "too-large": _too_large,
}


def network_cases() -> list[str]:
    """Kinds of files that are no sound network."""
    return list(_NETWORKS)


def run_network_case(kind: str, folder: Path, network: Path) -> Fault:
    """Open such a file, and predict with what was opened.

    Args:
        kind: one of `network_cases`.
        folder: to write it into.
        network: a sound one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "network.onnx"
    _NETWORKS[kind](path, network.read_bytes())
    rng = np.random.default_rng(1)
    first, second = (rng.integers(60, 200, (480, 640, 3), dtype=np.uint8) for _ in range(2))

    def predict(file: Path) -> float:
        predictor = FocusPredictor(file, Objective(20, 0.75), PIXEL_UM)
        return predictor.predict(first, second, 2.0).defocus_um

    def run() -> tuple[Ending, str]:
        said_um, sound_um = predict(path), predict(network)
        same = abs(said_um - sound_um) < 1e-6
        return ("recovered" if same else "unnoticed"), f"it predicts {said_um:.3f} µm, the sound one {sound_um:.3f} µm"

    outcome, detail = ending(run)
    return Fault("network", kind, outcome, detail)
