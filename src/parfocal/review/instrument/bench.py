"""What the instrument's page needs of an opened microscope. The command line supplies it: nothing here opens one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from parfocal.devices.approach import GuardedZ
from parfocal.devices.microscope import Microscope
from parfocal.scan.pause import ScanSwitch
from parfocal.scan.progress import ScanProgress

OnProgress = Callable[[ScanProgress], None]
OnStitch = Callable[[str, int, int], None]
OnFrame = Callable[[Any], None]


class Bench(Protocol):
    """An opened microscope with something under its lens."""

    @property
    def specimen(self) -> str:
        """What lies under the lens; empty where nobody was told."""

    @property
    def specimens(self) -> tuple[str, ...]:
        """What could lie there instead; empty on a real microscope."""

    @property
    def seed(self) -> int:
        """Of a simulated specimen."""

    def lit(self) -> AbstractContextManager[Microscope]:
        """The microscope with its lamp lit, for a block; it is off afterwards, whatever happens."""

    def dark(self) -> Microscope:
        """The microscope as it is."""

    def guarded_z(self, microscope: Microscope) -> GuardedZ:
        """The only way to its z stage."""

    def scan(
        self, out: Path, area_mm: tuple[float, float], slide_id: str, switch: ScanSwitch, see: OnFrame,
        on_progress: OnProgress, on_stitch: OnStitch,
    ) -> dict[str, Any]:  # fmt: skip
        """Scan into a new folder; `see` gets every frame. Returns the report, raises as `api.scan`."""

    def rescan(
        self, folder: Path, switch: ScanSwitch, see: OnFrame, on_progress: OnProgress, on_stitch: OnStitch
    ) -> dict[str, Any]:
        """Take the fields in doubt of a scan again. Returns the report, raises as `api.rescan`."""

    def resume(
        self, folder: Path, switch: ScanSwitch, see: OnFrame, on_progress: OnProgress, on_stitch: OnStitch
    ) -> dict[str, Any]:
        """Go on with a scan that broke off. Returns the report, raises as `api.resume`."""

    def close(self) -> None:
        """Let go of the devices."""


OpenBench = Callable[[str | None, int], Bench]
"""Opens the microscope with (specimen, seed) under it; None for what its file says."""
