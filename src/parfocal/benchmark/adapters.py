"""The same simulated instrument, driven directly and through each adapter: is it as sharp, and what does a field cost?

All scans run by the clock on the wall. A field waits for its devices; of that time two parts are told apart in the same
run: the simulated instrument's own (exposing, moving), and what the emulation of a board, camera or server does that a
real one does on its own processor (its firmware, its JPEG encoder). The rest is the adapter's: driver, line or network,
decoding. Time during which x-y and z are waited for together counts once. The first search for the focus is left out.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np

from parfocal.devices.approach import lamp_lit
from parfocal.devices.base import Truth
from parfocal.devices.driver import Asked, Devices, Role, driver_named
from parfocal.devices.microscope import Microscope
from parfocal.devices.wall_clock import WallClock
from parfocal.emulators.serving import EMULATORS, EmulatorName, serve
from parfocal.emulators.stand import AtWork
from parfocal.errors import SettingsError
from parfocal.focus.field import eyes_of
from parfocal.focus.predictor import Predictor
from parfocal.scan.plan import ScanPlan
from parfocal.scan.report import TruthLedger
from parfocal.scan.run import ScanRun
from parfocal.scan.scanner import BORDER_SPARE
from parfocal.scan.settings import ScanSettings

Through = Callable[[Microscope, AtWork], AbstractContextManager[Microscope]]
"""Lends a simulated microscope as it is reached through an adapter, whose emulation says when it is at work; its clock
and lens stay."""

DIRECT = "direct"
_PATIENCE_S = 3600.0  # pictures are computed while the clock on the wall runs
_SWITCH_S = 0.0002
"""Python's threads take turns so often: the emulation must not wait for the program, whose processor it shares."""
_ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True)
class AdapterRow:
    """One scan through one adapter.

    Attributes:
        adapter: its name, or "direct".
        fields: fields scanned.
        images: exposures, the sweep's included.
        tissue_fields: fields whose noise-free frame shows tissue.
        in_focus_fraction: share of them called focused and within half the depth of field; None where there are none.
        exposures_per_field: median, the first sweeps left out; likewise the times in ms.
        waited_ms_per_field: how long a field waited for its devices, all in all.
        instrument_ms_per_field: of that, in the simulated instrument.
        emulator_ms_per_field: of that, in the emulated board, camera or server itself.
        overhead_ms_per_field: the rest, which is the adapter's; a median of its own.
        wall_s: of the scan.
    """

    adapter: str
    fields: int
    images: int
    tissue_fields: int
    in_focus_fraction: float | None
    exposures_per_field: float
    waited_ms_per_field: float
    instrument_ms_per_field: float
    emulator_ms_per_field: float
    overhead_ms_per_field: float
    wall_s: float

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


@contextmanager
def through_micromanager(microscope: Microscope, _at_work: AtWork = nullcontext) -> Iterator[Microscope]:
    """Our devices inside Micro-Manager's core, driven from outside by its driver; nothing of it is emulated."""
    try:
        from parfocal.devices.micromanager.offered import offer
    except ImportError as error:
        raise SettingsError(f"the adapter micromanager cannot be imported: {error}") from error
    from parfocal.devices.micromanager.driver import devices_of
    from parfocal.devices.micromanager.session import close_session
    from parfocal.devices.micromanager.settings import MicroManagerSettings

    session = offer(microscope)
    settings = MicroManagerSettings(
        configuration="", xy_limits_um=microscope.xy.limits_um, z_limits_um=microscope.z.limits_um
    )
    try:
        yield with_devices(microscope, devices_of(session, settings, asked_of(microscope)))
    finally:
        close_session(session)


@contextmanager
def _through_emulator(name: EmulatorName, microscope: Microscope, at_work: AtWork) -> Iterator[Microscope]:
    with serve(name, microscope, haste=math.inf, at_work=at_work) as served, ExitStack() as letting_go:
        asked, reached = asked_of(microscope), microscope
        for table in served.devices.values():
            driver = driver_named(table["driver"])
            settings = driver.settings.model_validate({key: table[key] for key in table.keys() - {"driver", "roles"}})
            devices = driver.open(settings, replace(asked, roles=asked.roles & driver.roles))
            letting_go.callback(devices.close)
            reached = with_devices(reached, devices)
        yield reached


ADAPTERS: dict[str, Through] = {
    "micromanager": through_micromanager,
    **{name: partial(_through_emulator, name) for name in EMULATORS},
}
"""By name; what one needs is imported when it is measured."""


def asked_of(microscope: Microscope) -> Asked:
    """All devices, of the frame and scale of a microscope."""
    camera = microscope.camera
    return Asked(frozenset(_ROLES), camera.frame_shape, camera.pixel_size_um, microscope.clock, Path())


def with_devices(microscope: Microscope, devices: Devices) -> Microscope:
    """A microscope with those of its devices replaced that a driver gave."""
    given = {role: getattr(devices, role) for role in _ROLES if getattr(devices, role) is not None}
    return replace(microscope, **given)


def measure_adapters(
    opened: Callable[[], tuple[Microscope, Truth]],
    settings: ScanSettings,
    predictor: Predictor,
    plan: ScanPlan,
    names: Sequence[str] = (),
    on_progress: Callable[[str, int, int], None] = lambda _what, _done, _count: None,
) -> list[AdapterRow]:
    """Scan directly, then through adapters.

    Args:
        opened: gives the same simulated microscope anew, and the truth about it.
        settings: how it scans.
        predictor: defocus from pairs.
        plan: fields.
        names: adapters; all of them if empty.
        on_progress: called with what, how many fields are done, how many there are.

    Raises:
        SettingsError: if an adapter is unknown, or what it needs is not installed.
        InstrumentError: if one fails.
    """
    unknown = sorted(set(names) - set(ADAPTERS))
    if unknown:
        raise SettingsError(f"unknown adapter {unknown[0]!r}: choose one of {', '.join(ADAPTERS)}")
    paths: dict[str, Through] = {DIRECT: _directly} | {name: ADAPTERS[name] for name in names or ADAPTERS}
    patient = replace(settings, limits=replace(settings.limits, time_budget_s=_PATIENCE_S))
    with _taking_turns():
        return [_measure(name, path, *opened(), patient, predictor, plan, on_progress) for name, path in paths.items()]


def _directly(microscope: Microscope, _at_work: AtWork) -> AbstractContextManager[Microscope]:
    return nullcontext(microscope)


@contextmanager
def _taking_turns() -> Iterator[None]:
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before_s)


def _measure(
    name: str,
    path: Through,
    microscope: Microscope,
    truth: Truth,
    settings: ScanSettings,
    predictor: Predictor,
    plan: ScanPlan,
    on_progress: Callable[[str, int, int], None],
) -> AdapterRow:
    meters, clock = _Meters(), WallClock()
    ledger, done = TruthLedger(truth), 0
    focused: set[int] = set()
    fields: list[_Cost] = []
    behind = timed(timed(replace(microscope, clock=clock), meters.instrument), meters.behind)
    with path(behind, meters.behind.running) as reached:
        reached = timed(reached, meters.outside)
        eyes = eyes_of(reached, predictor, plan.overlap + BORDER_SPARE)
        run = ScanRun(reached, settings, eyes, plan, truth)
        with lamp_lit(reached.lamp):
            run.find_focus()
            before = meters.read(run.images)
            for record, _ in run.fields():
                now = meters.read(run.images)
                fields.append(now.since(before))
                before = now
                ledger.add(record)
                (focused.add if record.verdict == "focused" else focused.discard)(record.index)
                done = run.fields_done
                on_progress(name, done, len(plan))
    half_um = microscope.depth_of_field_um / 2
    tissue = [field for field in ledger.fields if field.is_tissue]
    sharp = sum(field.index in focused and abs(field.error_um) <= half_um for field in tissue)
    return AdapterRow(
        adapter=name,
        fields=done,
        images=run.images,
        tissue_fields=len(tissue),
        in_focus_fraction=sharp / len(tissue) if tissue else None,
        exposures_per_field=_median([field.exposures for field in fields]),
        waited_ms_per_field=_median([1000 * field.waited_s for field in fields]),
        instrument_ms_per_field=_median([1000 * field.instrument_s for field in fields]),
        emulator_ms_per_field=_median([1000 * field.emulator_s for field in fields]),
        overhead_ms_per_field=_median([1000 * field.adapter_s for field in fields]),
        wall_s=clock.now_s,
    )


@dataclass(frozen=True)
class _Cost:
    """What was spent up to a moment, or between two: exposures, and s."""

    exposures: int
    waited_s: float
    instrument_s: float
    behind_s: float

    @property
    def emulator_s(self) -> float:
        """In what is emulated, without the simulated instrument."""
        return self.behind_s - self.instrument_s

    @property
    def adapter_s(self) -> float:
        """In neither."""
        return self.waited_s - self.behind_s

    def since(self, before: _Cost) -> _Cost:
        """What was spent since then."""
        return _Cost(
            self.exposures - before.exposures,
            self.waited_s - before.waited_s,
            self.instrument_s - before.instrument_s,
            self.behind_s - before.behind_s,
        )


class _Meters:
    """From the inside out: the simulated instrument; with it, what is emulated over it; what the scan waits for."""

    def __init__(self) -> None:
        self.instrument, self.behind, self.outside = Stopwatch(), Stopwatch(), Stopwatch()

    def read(self, exposures: int) -> _Cost:
        """What was spent so far."""
        return _Cost(exposures, self.outside.spent_s, self.instrument.spent_s, self.behind.spent_s)


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else 0.0


class Stopwatch:
    """Adds up the time during which anything is under way, on any thread: what goes on at the same time counts once."""

    def __init__(self) -> None:
        self.spent_s = 0.0
        self._changing = threading.Lock()
        self._under_way = 0
        self._began_s = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time of a block."""
        with self._changing:
            if self._under_way == 0:
                self._began_s = time.perf_counter()
            self._under_way += 1
        try:
            yield
        finally:
            with self._changing:
                self._under_way -= 1
                if self._under_way == 0:
                    self.spent_s += time.perf_counter() - self._began_s


class _Timed:
    """A device whose every call is timed."""

    def __init__(self, device: object, stopwatch: Stopwatch) -> None:
        self._device = device
        self._stopwatch = stopwatch

    def __getattr__(self, name: str) -> Any:
        with self._stopwatch.running():
            value = getattr(self._device, name)
        return partial(self._call, value) if callable(value) else value

    def _call(self, method: Callable[..., Any], *arguments: Any) -> Any:
        with self._stopwatch.running():
            return method(*arguments)


def timed(microscope: Microscope, stopwatch: Stopwatch) -> Microscope:
    """A microscope whose devices' calls are timed."""
    devices: dict[str, Any] = {role: _Timed(getattr(microscope, role), stopwatch) for role in _ROLES}
    return replace(microscope, **devices)


def as_text(rows: Sequence[AdapterRow]) -> str:
    """One line for each path; its times are medians, which need not add up."""
    lines = ["adapter         fields  in focus  exposures   waited  instrument  emulation  adapter: ms a field"]
    for row in rows:
        share = "-" if row.in_focus_fraction is None else f"{row.in_focus_fraction:.1%}"
        lines.append(
            f"{row.adapter:14}  {row.fields:6}  {share:>8}  {row.exposures_per_field:9.1f}  "
            f"{row.waited_ms_per_field:7.1f}  {row.instrument_ms_per_field:10.1f}  "
            f"{row.emulator_ms_per_field:9.1f}  {row.overhead_ms_per_field:7.2f}"
        )
    return "\n".join(lines)
