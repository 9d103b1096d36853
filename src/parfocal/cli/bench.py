"""A microscope for the instrument's page, opened and scanned as the commands do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from parfocal import api
from parfocal.config import Instrument, specimen_names
from parfocal.devices.approach import GuardedZ, lamp_lit
from parfocal.devices.base import Camera, Frame
from parfocal.devices.microscope import Microscope
from parfocal.review.instrument.bench import OnFrame, OnProgress, OnStitch, OpenBench
from parfocal.scan.pause import ScanSwitch
from parfocal.supervisor.overseen import overseen


@dataclass(frozen=True)
class InstrumentBench:
    """See `review.instrument.bench.Bench`.

    Attributes:
        instrument: opened.
    """

    instrument: Instrument

    @property
    def specimen(self) -> str:
        """See `Bench`."""
        return self.instrument.specimen

    @property
    def specimens(self) -> tuple[str, ...]:
        """See `Bench`."""
        return () if self.instrument.truth is None else tuple(specimen_names())

    @property
    def seed(self) -> int:
        """See `Bench`."""
        return self.instrument.seed

    @contextmanager
    def lit(self) -> Iterator[Microscope]:
        """See `Bench`."""
        with overseen(self.instrument) as seen, lamp_lit(seen.microscope.lamp):
            yield seen.microscope

    def dark(self) -> Microscope:
        """See `Bench`."""
        return self.instrument.microscope

    def guarded_z(self, microscope: Microscope) -> GuardedZ:
        """See `Bench`."""
        settings = self.instrument.settings
        return GuardedZ(microscope.z, microscope.clock, settings.approach, settings.limits)

    def scan(
        self, out: Path, area_mm: tuple[float, float], slide_id: str, switch: ScanSwitch, see: OnFrame,
        on_progress: OnProgress, on_stitch: OnStitch,
    ) -> dict[str, Any]:  # fmt: skip
        """See `Bench`."""
        return api.scan(
            _seen(self.instrument, see),
            out,
            area_mm,
            slide_id=slide_id,
            switch=switch,
            on_progress=on_progress,
            on_stitch=on_stitch,
        )

    def rescan(
        self, folder: Path, switch: ScanSwitch, see: OnFrame, on_progress: OnProgress, on_stitch: OnStitch
    ) -> dict[str, Any]:
        """See `Bench`."""
        instrument = _seen(self.instrument, see)
        return api.rescan(instrument, folder, switch=switch, on_progress=on_progress, on_stitch=on_stitch)

    def resume(
        self, folder: Path, switch: ScanSwitch, see: OnFrame, on_progress: OnProgress, on_stitch: OnStitch
    ) -> dict[str, Any]:
        """See `Bench`."""
        opened = api.open_already(folder, _seen(self.instrument, see)) if api.needs_instrument(folder) else None
        return api.resume(folder, opened, switch=switch, on_progress=on_progress, on_stitch=on_stitch)

    def close(self) -> None:
        """See `Bench`."""
        self.instrument.close()


@dataclass(frozen=True)
class _SeenCamera:
    """A camera whose frames somebody else sees too."""

    camera: Camera
    see: OnFrame

    @property
    def frame_shape(self) -> tuple[int, int]:
        return self.camera.frame_shape

    @property
    def pixel_size_um(self) -> float:
        return self.camera.pixel_size_um

    def snap(self) -> Frame:
        frame = self.camera.snap()
        self.see(frame)
        return frame


def _seen(instrument: Instrument, see: OnFrame) -> Instrument:
    microscope = instrument.microscope
    return replace(instrument, microscope=replace(microscope, camera=_SeenCamera(microscope.camera, see)))


def bench_opener(microscope: str, calibration: Path | None) -> OpenBench:
    """What opens a microscope for the page: `simulated-20x` or the path of a TOML file."""

    def open_bench(specimen: str | None, seed: int) -> InstrumentBench:
        return InstrumentBench(api.open_microscope(microscope, specimen, seed, calibration=calibration))

    return open_bench
