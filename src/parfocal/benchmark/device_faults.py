"""Faults of camera, stages and lamp, one after the other, each in a scan of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from parfocal.benchmark.fault_outcome import Ending, Fault, damaged, ending, judge
from parfocal.benchmark.painted import PaintedScan, painted_header, painted_scan
from parfocal.devices.faulty import (
    CameraFault,
    FaultyCamera,
    FaultyLamp,
    FaultyXY,
    FaultyZ,
    LampFault,
    StageFault,
    When,
)
from parfocal.devices.microscope import Microscope
from parfocal.devices.watched import Reopening, watched
from parfocal.scan.progress import ScanProgress
from parfocal.scan.scanner import scan_fields
from parfocal.slide.fields.records import FieldRecord
from parfocal.slide.fields.writer import FieldsWriter

SIDE_MM = 0.25
_NEVER = When(call=10**9)
_ALWAYS = math.inf

Device = Literal["camera", "xy", "z", "lamp"]

_AMID: dict[Device, int] = {"camera": 34, "xy": 14, "z": 40, "lamp": 0}
"""A call in the middle of the scan: after the search for the focus, before the last field."""


@dataclass(frozen=True)
class DeviceCase:
    """A fault of one device: its name in the matrix, its kind, when it strikes."""

    device: Device
    name: str
    kind: CameraFault | StageFault | LampFault
    when: When


def device_cases() -> Iterator[DeviceCase]:
    """All of them."""
    for device in ("camera", "xy", "z", "lamp"):
        yield from _line_cases(device)
    for kind in ("repeat", "black", "saturated", "cut", "torn", "wrong-shape", "wrong-type", "stripes"):
        yield DeviceCase("camera", kind, kind, When(call=_AMID["camera"]))
    yield DeviceCase("camera", "black-always", "black", When(call=_AMID["camera"], times=_ALWAYS))
    yield DeviceCase("camera", "repeat-always", "repeat", When(call=_AMID["camera"], times=_ALWAYS))
    yield DeviceCase("camera", "stripes-random", "stripes", When(chance=0.05, seed=3))
    for stage in ("xy", "z"):
        for fault in ("drop", "twice", "stuck", "short", "overshoot", "backwards", "reset", "nowhere"):
            yield DeviceCase(stage, fault, fault, When(call=_AMID[stage]))
        yield DeviceCase(stage, "drop-always", "drop", When(call=_AMID[stage], times=_ALWAYS))
        yield DeviceCase(stage, "stuck-always", "stuck", When(call=_AMID[stage], times=_ALWAYS))
    for order, call in (("on", 0), ("off", 1)):
        yield DeviceCase("lamp", f"drop-{order}", "drop", When(call=call))
        yield DeviceCase("lamp", f"drop-{order}-always", "drop", When(call=call, times=_ALWAYS))
        yield DeviceCase("lamp", f"opposite-{order}", "opposite", When(call=call))
    yield DeviceCase("lamp", "raise-off", "raise", When(call=1))
    yield DeviceCase("lamp", "goes-out", "goes-out", When())


def _line_cases(device: Device) -> Iterator[DeviceCase]:
    amid = _AMID[device]
    for kind in ("raise", "disconnect", "gone", "delay", "hang"):
        yield DeviceCase(device, kind, kind, When(call=amid))
    yield DeviceCase(device, "raise-always", "raise", When(call=amid, times=_ALWAYS))
    yield DeviceCase(device, "raise-random", "raise", When(chance=0.05, seed=1))
    yield DeviceCase(device, "disconnect-random", "disconnect", When(chance=0.05, seed=2))
    yield DeviceCase(device, "delay-random", "delay", When(chance=0.1, seed=4))


@dataclass(frozen=True)
class _Bench:
    """The devices of one case."""

    camera: FaultyCamera
    xy: FaultyXY
    z: FaultyZ
    lamp: FaultyLamp

    def watched(self, microscope: Microscope) -> Microscope:
        again = Reopening(camera=self.camera.reopen, xy=self.xy.reopen, z=self.z.reopen, lamp=self.lamp.reopen)
        return watched(replace(microscope, camera=self.camera, xy=self.xy, z=self.z, lamp=self.lamp), reopening=again)


def run_device_case(case: DeviceCase, folder: Path) -> Fault:
    """Scan a small painted slide while one device goes wrong.

    Args:
        case: which, how and when.
        folder: for the fields; not there yet.
    """
    scan = painted_scan(SIDE_MM, seed=5)
    bench = _bench(case, scan.microscope)
    handed_over: list[int] = []

    def on_field(record: FieldRecord, _: ScanProgress) -> None:
        handed_over.append(record.index)

    def run() -> tuple[Ending, str]:
        with FieldsWriter(folder, painted_header(scan)) as writer:
            summary = scan_fields(
                bench.watched(scan.microscope), scan.settings, scan.predictor, scan.plan, writer, on_field, scan.truth
            )
        return judge(folder, scan, summary, places=case.device in ("xy", "camera"))

    outcome, detail = ending(run)
    return Fault(
        case.device,
        case.name,
        outcome,
        detail,
        lost=damaged(folder, len(handed_over)),
        out_of_limits=_beyond_limits(scan, bench.xy.sent_um, bench.z.sent_um),
        driven_out=_beyond_limits(scan, bench.xy.driven_um, bench.z.driven_um),
        lamp_left_on=_left_on(case, scan),
    )


def _bench(case: DeviceCase, microscope: Microscope) -> _Bench:
    wait, when = microscope.clock.spend, {case.device: case.when}
    kinds = {case.device: case.kind}
    return _Bench(
        FaultyCamera(microscope.camera, kinds.get("camera", "raise"), when.get("camera", _NEVER), wait),  # type: ignore[arg-type]
        FaultyXY(microscope.xy, kinds.get("xy", "raise"), when.get("xy", _NEVER), wait, lost_um=12.0),  # type: ignore[arg-type]
        FaultyZ(microscope.z, kinds.get("z", "raise"), when.get("z", _NEVER), wait),  # type: ignore[arg-type]
        FaultyLamp(microscope.lamp, kinds.get("lamp", "raise"), when.get("lamp", _NEVER), wait),  # type: ignore[arg-type]
    )


def _beyond_limits(scan: PaintedScan, xy_um: Sequence[tuple[float, ...]], z_um: Sequence[tuple[float, ...]]) -> int:
    """How many of these moves end beyond the soft limits of z, or the stage's of x and y."""
    limits = scan.settings.limits
    z_limits_um = ((limits.lowest_um, limits.highest_um),)
    return sum(
        not all(low <= at <= high for at, (low, high) in zip(place_um, limits_um, strict=True))
        for places_um, limits_um in ((xy_um, scan.microscope.xy.limits_um), (z_um, z_limits_um))
        for place_um in places_um
    )


def _left_on(case: DeviceCase, scan: PaintedScan) -> bool:
    """Whether the lamp is lit in the end, unless it is the lamp itself that no order reaches any more."""
    is_out_of_reach = case.device == "lamp" and (case.kind == "gone" or case.when.times == _ALWAYS)
    return scan.microscope.lamp.is_on and not is_out_of_reach
