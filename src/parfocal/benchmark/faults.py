"""Is anything lost? Kills at random instants, a matrix of faults, a very long scan, and what durability costs."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from parfocal.benchmark.device_faults import device_cases, run_device_case
from parfocal.benchmark.disk_faults import disk_cases, network_cases, run_disk_case, run_network_case
from parfocal.benchmark.endurance import Durability, Endured, durability, endure
from parfocal.benchmark.fault_outcome import Fault
from parfocal.benchmark.kills import MISPLACED_PX, Kill, Killing, Oversee

QUICK_KILLS, KILLS = 8, 200
WRITER_MS = 11.0
"""What the writer may take for a field, at the median: 5 % of the paper's time for one."""

GROWN_MIB = 20.0
"""By how much memory may grow in a long scan once it has settled."""

_QUICK_EVERY = 5  # case of the matrix

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class FaultReport:
    """What `parfocal benchmark faults` found.

    Attributes:
        kills: every kill.
        faults: every case of the matrix.
        durability: what it costs to have a field on disk; None where it was not measured.
        endured: a very long scan; None where none was made.
        timed: whether the writer's time counts; not in a quick run, which may share its machine with others.
    """

    kills: list[Kill] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    durability: Durability | None = None
    endured: Endured | None = None
    timed: bool = True

    @property
    def broken_promises(self) -> list[str]:
        """Names of the figures that must be 0, or below a limit, and are not."""
        values = self.to_json()
        promised = (
            "lost", "duplicated", "lamp_left_on", "out_of_limits", "not_gone_on_with", "other_verdicts", "other_focus",
            "misplaced", "changed", "leftovers", "unnoticed", "traceback",
        )  # fmt: skip
        broken = [name.replace("_", " ") for name in promised if values[name]]
        if self.timed and self.durability is not None and self.durability.writer_ms > WRITER_MS:
            broken.append(f"the writer's time: {self.durability.writer_ms:.1f} ms, {WRITER_MS:g} ms at most")
        if self.endured is not None and self.endured.damaged:
            broken.append("damaged in the long scan")
        if self.endured is not None and self.endured.grown_mib > GROWN_MIB:
            broken.append(f"memory: {self.endured.grown_mib:.0f} MiB more at the end, {GROWN_MIB:g} MiB at most")
        return broken

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        endings = Counter(fault.outcome for fault in self.faults)
        after = [kill.dark_s for kill in self.kills if kill.dark_s > 0]
        return {
            "kills": len(self.kills),
            "kills_by_phase": dict(Counter(kill.phase for kill in self.kills)),
            "durable": sum(kill.durable for kill in self.kills),
            "lost": sum(kill.lost for kill in self.kills) + sum(fault.lost for fault in self.faults),
            "taken_away": sum(fault.taken_away for fault in self.faults),
            "duplicated": sum(kill.duplicated for kill in self.kills),
            "lamp_left_on": sum(kill.lamp_left_on for kill in self.kills)
            + sum(fault.lamp_left_on for fault in self.faults),
            "lamp_lit_when_killed": len(after),
            "dark_within_s": max(after, default=None),
            "out_of_limits": sum(fault.out_of_limits for fault in self.faults),
            "driven_out": sum(fault.driven_out for fault in self.faults),
            "not_gone_on_with": [kill.failure for kill in self.kills if kill.failure]
            + [fault.failure for fault in self.faults if fault.failure],
            "other_verdicts": sum(kill.verdicts for kill in self.kills),
            "other_focus": sum(kill.z_off for kill in self.kills),
            "misplaced": sum(kill.error_px > MISPLACED_PX for kill in self.kills),
            "changed": sum(kill.changed for kill in self.kills),
            "leftovers": sum(kill.leftovers for kill in self.kills),
            "largest_defocus_um": max((kill.defocus_um for kill in self.kills), default=None),
            "largest_apart_um": max((kill.apart_um for kill in self.kills), default=None),
            "largest_error_px": max((kill.error_px for kill in self.kills), default=None),
            **{name: endings[name] for name in ("recovered", "stopped", "unnoticed", "traceback")},
            "faults": [fault.to_json() for fault in self.faults],
            "durability": None if self.durability is None else asdict(self.durability),
            "endurance": None if self.endured is None else self.endured.to_json(),
        }


def measure_faults(
    network: Path, oversee: Oversee, kills: int, *, quick: bool, progress: Progress, parent: Path | None = None
) -> FaultReport:
    """Kill, injure and time.

    Args:
        network: a sound one, to spoil copies of.
        oversee: puts a supervisor beside an instrument.
        kills: how many.
        quick: a part of the matrix only.
        progress: called with what, how many are done, how many there are.
        parent: folder to work in, some 100 MB; the system's for temporary files if None.
    """
    with tempfile.TemporaryDirectory(dir=parent) as name:
        folder = Path(name)
        (folder / "kills").mkdir()
        killed = Killing(folder / "kills", oversee).run(kills, progress) if kills else []
        faults = run_matrix(folder, network, quick=quick, progress=progress)
        return FaultReport(killed, faults, durability(folder / "durable"), timed=not quick)


def run_matrix(folder: Path, network: Path, *, quick: bool, progress: Progress) -> list[Fault]:
    """Every case of the matrix, or each fifth of them, in a scan of its own."""
    runs: list[Callable[[Path], Fault]] = [_of_device(case) for case in device_cases()]
    runs += [_of_disk(kind) for kind in disk_cases()]
    runs += [_of_network(kind, network) for kind in network_cases()]
    if quick:
        runs = runs[::_QUICK_EVERY]
    faults = []
    for number, run in enumerate(runs):
        with tempfile.TemporaryDirectory(dir=folder) as aside:
            faults.append(run(Path(aside) / "fields"))
        progress("injecting faults", number + 1, len(runs))
    return faults


def _of_device(case: Any) -> Callable[[Path], Fault]:
    return lambda folder: run_device_case(case, folder)


def _of_disk(kind: str) -> Callable[[Path], Fault]:
    return lambda folder: run_disk_case(kind, folder)


def _of_network(kind: str, network: Path) -> Callable[[Path], Fault]:
    return lambda folder: run_network_case(kind, folder, network)


def measure_endurance(fields: int, progress: Progress, parent: Path | None = None) -> FaultReport:
    """Scan very many fields, and nothing else.

    Args:
        fields: how many.
        progress: as above.
        parent: folder to work in, 15 kB a field; the system's for temporary files if None.
    """
    with tempfile.TemporaryDirectory(dir=parent) as name:
        return FaultReport(endured=endure(fields, Path(name) / "fields", progress))


def as_text(report: FaultReport) -> str:
    """For people."""
    values = report.to_json()
    lines = []
    if report.kills:
        lines += [
            f"{values['kills']} kills, {values['durable']} fields on disk then: {values['lost']} lost, "
            f"{values['duplicated']} twice, {len(values['not_gone_on_with'])} scans not gone on with",
            f"lamp lit at {values['lamp_lit_when_killed']} kills, off at the latest after "
            f"{values['dark_within_s'] or 0:.2f} s, left on {values['lamp_left_on']} times",
            f"fields afterwards: {values['other_verdicts']} with another verdict, {values['other_focus']} with another "
            f"focus, {values['largest_defocus_um']:.2f} µm from best focus at most; "
            f"largest error of a place {values['largest_error_px']:.2f} px; {values['changed']} slides and "
            f"exports changed, {values['leftovers']} half-written files left",
        ]
    for fault in report.faults:
        lines.append(f"{fault.device:8} {fault.kind:20} {fault.outcome:10} {fault.detail}")
    if report.faults:
        lines.append(
            f"{len(report.faults)} faults: {values['recovered']} recovered, {values['stopped']} stopped with an error, "
            f"{values['unnoticed']} unnoticed, {values['traceback']} tracebacks, "
            f"{values['out_of_limits']} moves beyond limits asked for, {values['driven_out']} by faults themselves; "
            f"{values['taken_away']} fields on disk removed by a fault itself"
        )
    if report.durability:
        cost = report.durability
        lines.append(
            f"a field on disk: {cost.writer_ms:.1f} ms of the writer, {cost.encode_ms:.1f} ms of that encoding; "
            f"{cost.control_ms:.1f} ms of the instrument's thread"
        )
    if report.endured:
        long = report.endured
        lines.append(
            f"{long.fields} fields in {long.seconds:.0f} s: memory {long.settled_mib:.0f} MiB once settled, "
            f"{long.end_mib:.0f} MiB at the end; {long.damaged} damaged, {long.journal_lines} lines of journal"
        )
    return "\n".join(lines)
