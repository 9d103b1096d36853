"""One microscope for everybody at the page: it looks, it moves, or it scans, and only one of them at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Condition, Lock, Thread
from typing import Any, Literal

from parfocal.devices.approach import check_limits
from parfocal.devices.base import Frame
from parfocal.devices.driver import nothing
from parfocal.devices.watched import watched
from parfocal.errors import InstrumentError, ParfocalError, ScanStoppedError
from parfocal.review.instrument.bench import Bench, OpenBench
from parfocal.review.instrument.growing import GrowingMosaic
from parfocal.review.instrument.viewfinder import Viewfinder
from parfocal.scan.pause import ScanSwitch
from parfocal.scan.progress import ScanProgress

State = Literal["idle", "scanning", "paused", "stitching", "done", "stopped", "failed"]

_BUSY = ("scanning", "paused", "stitching")
_LOOK_EVERY_S = 0.25
_WATCHED_FOR_S = 3.0
_CLOSES_WITHIN_S = 30.0


@dataclass(frozen=True)
class Status:
    """What the page shows.

    Attributes:
        state: of the instrument.
        words: what it does, or what went wrong.
        scan: name of the scan; empty before the first.
        fields_done: fields with a verdict.
        fields: fields worth a visit, as far as is known.
        images: exposures so far.
        in_doubt: fields so far that are unsure or failed.
        left_s: time that is left, in s; None where nobody can tell.
        x_um: of the stage.
        y_um: of the stage.
        z_um: of the stage.
        specimen: what lies under the lens.
        seed: of a simulated specimen.
        warnings: of the latest scan's report, on what drifted; none while one runs.
        number: rises with every change.
    """

    state: State = "idle"
    words: str = "Ready."
    scan: str = ""
    fields_done: int = 0
    fields: int = 0
    images: int = 0
    in_doubt: int = 0
    left_s: float | None = None
    x_um: float = 0.0
    y_um: float = 0.0
    z_um: float = 0.0
    specimen: str = ""
    seed: int = 0
    warnings: tuple[str, ...] = ()
    number: int = 0

    @property
    def is_busy(self) -> bool:
        """Whether a scan owns the instrument."""
        return self.state in _BUSY


class InstrumentDesk:
    """The instrument between the page and the devices. Safe to use from any thread.

    Args:
        open_bench: opens the microscope.
        folder: in which scans appear.
        on_done: called when a scan has ended.
    """

    def __init__(self, open_bench: OpenBench, folder: Path, on_done: Callable[[], None]) -> None:
        self._open_bench = open_bench
        self._folder = folder
        self._on_done = on_done
        self._devices = Lock()  # whoever moves or exposes holds it
        self._changed = Condition()
        self._bench: Bench = open_bench(None, 0)
        self._watched = watched(self._bench.dark())
        self._status = Status()
        self._switch = ScanSwitch()
        self._thread: Thread | None = None
        self._watcher: Thread | None = None
        self._watched_until_s = 0.0
        self._unwatched = 0  # how many want nobody to watch: a live view asks again all the time
        self._mosaic: GrowingMosaic | None = None
        self.viewfinder = Viewfinder()
        self.is_closing = False
        self._tell(**self._where())

    @property
    def status(self) -> Status:
        """As it is now."""
        return self._status

    @property
    def bench(self) -> Bench:
        """The microscope."""
        return self._bench

    # Looking

    def watch(self) -> None:
        """Somebody watches: for three seconds more there are live frames, if nothing else is done."""
        with self._changed:
            if self._unwatched:
                return
            self._watched_until_s = time.monotonic() + _WATCHED_FOR_S
            if self._watcher is None and not self._status.is_busy:
                self._watcher = Thread(target=self._look, name="live view", daemon=True)
                self._watcher.start()

    def _look(self) -> None:
        try:
            with self._bench.lit() as microscope:
                while time.monotonic() < self._watched_until_s and not self._status.is_busy:
                    with self._devices:
                        self.viewfinder.see(microscope.camera.snap())
                    time.sleep(_LOOK_EVERY_S)
        except ParfocalError as error:
            self._tell(words=f"No live view: {error}")
        finally:
            self._watcher = None

    # Moving

    def jog(self, dx_um: float, dy_um: float, dz_um: float) -> None:
        """Move by so much. Nothing moves if any axis would leave its limits.

        Raises:
            LimitError: if it would.
            InstrumentError: if a scan is under way, or a device fails or does not answer in time.
        """
        with self._owned():
            microscope = self._watched
            z = self._bench.guarded_z(microscope)
            (x_um, y_um), z_um = microscope.xy.position_um, microscope.z.position_um
            targets = (x_um + dx_um, y_um + dy_um, z_um + dz_um)
            for axis, target_um, limits_um in zip("xy", targets, microscope.xy.limits_um, strict=False):
                check_limits(axis, target_um, limits_um)
            z.check_reach(targets[2])
            if dx_um or dy_um:
                microscope.xy.move_to(targets[0], targets[1])
            if dz_um:
                z.move_to(targets[2])
            where = self._where()
        self._tell(**where, words="Ready.")

    def put_under(self, specimen: str, seed: int) -> None:
        """Another specimen under a simulated microscope. The stage begins anew.

        Raises:
            SettingsError: if there is no such specimen.
            InstrumentError: if a scan is under way.
        """
        self.check_free()
        opened = self._open_bench(specimen, seed)
        with self._nobody_watching(), self._owned(otherwise=opened.close):
            self._bench.close()
            self._bench, self._watched = opened, watched(opened.dark())
        self._tell(**self._where(), words=f"{specimen} lies under the lens.")

    # Scanning

    def scan(self, name: str, area_mm: tuple[float, float], slide_id: str) -> None:
        """Start a scan into a new folder.

        Raises:
            InstrumentError: if one is under way.
        """
        out = self._folder / name

        def run(switch: ScanSwitch) -> dict[str, Any]:
            return self._bench.scan(out, area_mm, slide_id, switch, self._see, self._progress(), self._stitching)

        self._start(name, run)

    def rescan(self, name: str) -> None:
        """Take the fields in doubt of a scan again.

        Raises:
            InstrumentError: if a scan is under way.
        """
        folder = self._folder / name

        def run(switch: ScanSwitch) -> dict[str, Any]:
            return self._bench.rescan(folder, switch, self._see, self._progress(), self._stitching)

        self._start(name, run)

    def resume(self, name: str) -> None:
        """Go on with a scan that was stopped or broke off.

        Raises:
            InstrumentError: if a scan is under way.
        """
        folder = self._folder / name

        def run(switch: ScanSwitch) -> dict[str, Any]:
            return self._bench.resume(folder, switch, self._see, self._progress(), self._stitching)

        self._start(name, run)

    def pause(self) -> bool:
        """Let the scan wait after the field under way, its lamp off. False where there is none."""
        if self._status.state != "scanning":
            return False
        self._switch.pause()
        self._tell(state="paused", words=f"Paused. {self._lamp_words()}")
        return True

    def go_on(self) -> bool:
        """Let a paused scan go on. False where there is none."""
        if self._status.state != "paused":
            return False
        self._switch.go_on()
        self._tell(state="scanning", words="Scanning.")
        return True

    def stop(self) -> bool:
        """End the scan after the field under way; what was scanned is kept. False where there is none."""
        if not self._status.is_busy:
            return False
        self._switch.stop()
        self._tell(words="Stopping after this field.")
        return True

    def mosaic(self) -> bytes | None:
        """The latest scan so far as JPEG; None before its first field. Raises FileError if it cannot be read."""
        return None if self._mosaic is None else self._mosaic.picture()

    def end_streams(self) -> None:
        """Let everybody who watches go: the server is about to close."""
        self.is_closing = True

    def close(self) -> None:
        """Stop what is under way and let go of the devices."""
        self._switch.stop()
        with self._nobody_watching():
            if self._thread is not None:
                self._thread.join(_CLOSES_WITHIN_S)
            self._bench.close()

    @contextmanager
    def _owned(self, otherwise: Callable[[], None] = nothing) -> Iterator[None]:
        """The devices for a block, unless a scan is under way or has been since this was called."""
        switch = self._switch  # each scan has its own
        self.check_free()
        with self._devices:
            if self._switch is not switch:
                otherwise()
                raise InstrumentError("a scan came first: nothing was moved")
            yield

    def _lamp_words(self) -> str:
        return "Switch the lamp off by hand." if self._bench.dark().lamp_by_hand else "The lamp is off."

    def check_free(self) -> None:
        """Raises InstrumentError if a scan is under way."""
        if self._status.is_busy:
            raise InstrumentError(f"the instrument is busy: {self._status.state} {self._status.scan}")

    def _start(self, name: str, run: Callable[[ScanSwitch], dict[str, Any]]) -> None:
        with self._changed:
            self.check_free()
            self._switch = switch = ScanSwitch()
            self._mosaic = GrowingMosaic(self._folder / name)
            none: dict[str, Any] = {"fields_done": 0, "fields": 0, "images": 0, "in_doubt": 0, "left_s": None}
            self._tell(state="scanning", words="Looking for the focus.", scan=name, warnings=(), **none)
        self._thread = Thread(target=self._run, args=(name, run, switch), name="scan", daemon=True)
        self._thread.start()

    def _run(self, name: str, run: Callable[[ScanSwitch], dict[str, Any]], switch: ScanSwitch) -> None:
        try:
            with self._nobody_watching():  # who watched puts the lamp out in the end
                pass
            report = self._run_alone(run, switch)
        except ScanStoppedError as error:
            self._tell(state="stopped", words=f"Stopped: {error}", left_s=None)
        except ParfocalError as error:
            self._tell(state="failed", words=str(error), left_s=None)
        else:
            doubtful = len(report["fields_in_doubt"])
            words = f"Done: {report['fields']} fields, {doubtful} in doubt, {report['images_total']} exposures."
            words += f" {self._lamp_words()}" if self._bench.dark().lamp_by_hand else ""
            warnings = tuple(report.get("drift", {}).get("warnings", ()))  # older versions told of none
            self._tell(state="done", words=words, in_doubt=doubtful, left_s=None, warnings=warnings)
        finally:
            if self._status.is_busy:
                self._tell(state="failed", words=f"{name} ended unexpectedly: see the server's log", left_s=None)

    def _run_alone(self, run: Callable[[ScanSwitch], dict[str, Any]], switch: ScanSwitch) -> dict[str, Any]:
        try:
            with self._devices:
                return run(switch)
        finally:
            self._on_done()  # before anybody is told that it has ended

    def _progress(self) -> Callable[[ScanProgress], None]:
        began_s, before = time.monotonic(), -1

        def told(progress: ScanProgress) -> None:
            nonlocal before
            before = progress.fields_done - 1 if before < 0 else before  # by the run that is gone on with
            per_field_s = (time.monotonic() - began_s) / max(1, progress.fields_done - before)
            left_s = per_field_s * max(0, progress.fields - progress.fields_done)
            words = self._status.words if self._switch.is_paused or self._switch.is_stopped else "Scanning."
            state: dict[str, Any] = {"state": "scanning"} if self._status.state == "stitching" else {}
            self._tell(words=words, left_s=left_s, **state, **asdict(progress), **self._where())

        return told

    def _stitching(self, what: str, done: int, total: int) -> None:
        if self._status.state != "stitching" or done == total:
            self._tell(state="stitching", words=f"{what.capitalize()}.", left_s=None)

    def _see(self, frame: Frame) -> None:
        """A frame of the scan, if anybody watches."""
        if time.monotonic() < self._watched_until_s:
            self.viewfinder.see(frame)

    @contextmanager
    def _nobody_watching(self) -> Iterator[None]:
        """The live view has ended, and none begins in the block."""
        with self._changed:
            self._unwatched += 1
            self._watched_until_s = 0.0
            watcher = self._watcher
        try:
            if watcher is not None:
                watcher.join()
            yield
        finally:
            with self._changed:
                self._unwatched -= 1

    def _where(self) -> dict[str, Any]:
        """Where the stage stands, for whoever owns the devices."""
        microscope = self._watched
        x_um, y_um = microscope.xy.position_um
        under = {"specimen": self._bench.specimen, "seed": self._bench.seed}
        return {"x_um": x_um, "y_um": y_um, "z_um": microscope.z.position_um, **under}

    def _tell(self, **changes: Any) -> None:
        with self._changed:
            self._status = replace(self._status, **changes, number=self._status.number + 1)
            self._changed.notify_all()
