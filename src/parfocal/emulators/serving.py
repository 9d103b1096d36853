"""An emulated instrument, whole: its board or server, its camera, and the tables that an instrument's file needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, get_args

from parfocal.devices.microscope import Microscope
from parfocal.emulators.firmware import Faults, Firmware
from parfocal.emulators.grbl import GrblFirmware
from parfocal.emulators.marlin import MarlinFirmware
from parfocal.emulators.openflexure import OpenFlexureState, openflexure_server
from parfocal.emulators.pty_port import PtyPort
from parfocal.emulators.sangaboard import UM_PER_STEP, SangaboardFirmware
from parfocal.emulators.stand import AtWork, Stand
from parfocal.emulators.web_camera import web_camera

EmulatorName = Literal["grbl", "marlin", "sangaboard", "openflexure"]
EMULATORS: tuple[EmulatorName, ...] = get_args(EmulatorName)
_FIRMWARES: dict[str, Callable[[Stand, Faults], Firmware]] = {
    "grbl": GrblFirmware,
    "marlin": MarlinFirmware,
    "sangaboard": SangaboardFirmware,
}
_PATIENCE_S = 60.0  # pictures are computed, on a machine that may be busy
_LIMITS = {
    "x_limits_um": [-12_000.0, 12_000.0],
    "y_limits_um": [-12_000.0, 12_000.0],
    "z_limits_um": [-400.0, 400.0],
}


@dataclass(frozen=True)
class Served:
    """What is served now.

    Attributes:
        stand: what it moves.
        addresses: what is where: a port's name, URLs.
        devices: tables `devices.NAME` for an instrument's file that uses it.
        faults: what goes wrong; a board's can be changed while it runs.
    """

    stand: Stand
    addresses: dict[str, str]
    devices: dict[str, dict[str, Any]]
    faults: Faults


@contextmanager
def serve(
    name: EmulatorName,
    microscope: Microscope,
    *,
    haste: float = 1.0,
    faults: Faults | None = None,
    api: Literal["v2", "v3"] = "v3",
    at_work: AtWork = nullcontext,
) -> Iterator[Served]:
    """Serve an emulated instrument for the length of a block, on this machine only.

    Args:
        name: which.
        microscope: a simulated one, which it moves and looks through.
        haste: by how much its moves are faster than real ones; math.inf for no time at all.
        faults: what goes wrong with a board.
        api: version of OpenFlexure's.
        at_work: entered while what is emulated works, as a real one would on a processor of its own.
    """
    stand, faults = Stand(microscope, haste, at_work=at_work), faults or Faults()
    if name == "openflexure":
        state = OpenFlexureState(stand, microscope.camera.pixel_size_um)
        with openflexure_server(state, api) as server:
            yield Served(stand, {"url": server.url}, _openflexure_tables(server.url, api), faults)
        return
    firmware = _FIRMWARES[name](stand, faults)
    with PtyPort(firmware) as port, web_camera(stand) as camera:
        url = f"{camera.url}/snapshot.ppm"
        tables = {"stage": _board_table(name, port.name), "camera": _camera_table(url)}
        yield Served(stand, {"port": port.name, "camera": url}, tables, faults)


def _board_table(name: str, port: str) -> dict[str, Any]:
    own = {"um_per_step": list(UM_PER_STEP)} if name == "sangaboard" else {}
    return {"driver": name, "port": port, **_LIMITS, **own, "settle_ms": 0.0}


def _camera_table(url: str) -> dict[str, Any]:
    return {"driver": "url-camera", "url": url, "stale_frames": 0, "timeout_s": _PATIENCE_S}


def _openflexure_tables(url: str, api: str) -> dict[str, dict[str, Any]]:
    table: dict[str, Any] = {"driver": "openflexure", "url": url, **_LIMITS, "settle_ms": 0.0, "stale_frames": 0}
    table["timeout_s"] = _PATIENCE_S
    if api == "v3":
        return {"microscope": table}
    return {"microscope": table | {"roles": ["camera", "xy", "z"]}, "lamp": {"driver": "always-on"}}
