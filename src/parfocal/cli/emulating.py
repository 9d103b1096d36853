"""Commands about microscopes themselves: emulated ones, to try an adapter without its hardware."""

from __future__ import annotations

import json
import math
import re
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from parfocal.cli.terminal import json_option
from parfocal.errors import FileError

if TYPE_CHECKING:
    from parfocal.config.tables import InstrumentFile
    from parfocal.emulators.firmware import Faults
    from parfocal.emulators.serving import EmulatorName, Served

EMULATORS = ("grbl", "marlin", "sangaboard", "openflexure")
_WAIT_S = 0.1


class _Fault(click.ParamType[tuple[str, int]]):
    """WHAT@MOVE."""

    name = "WHAT@MOVE"

    def convert(
        self, value: str | tuple[str, int], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        if not isinstance(value, str):
            return value
        found = re.fullmatch(r"(reset|alarm|unplug)@([1-9]\d{0,5})", value)
        if not found:
            self.fail(f"{value!r} is not reset@N, alarm@N or unplug@N, with the number N of a move", param, ctx)
        return found[1], int(found[2])


@click.group()
def microscope() -> None:
    """Microscopes to try things on.

    \b
    Examples:
      parfocal microscope serve-emulator grbl --toml emulated.toml
      parfocal microscope serve-emulator openflexure --api v2
    """


@microscope.command("serve-emulator")
@click.argument("name", type=click.Choice(EMULATORS))
@click.option("--instrument", default="simulated-20x", show_default=True, help="Simulated microscope that it moves.")
@click.option("--specimen", default="he-tissue", show_default=True, help="What lies under it.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of specimen, errors and noise.")
@click.option("--haste", type=click.FloatRange(min=0.01), default=1.0, show_default=True, help="Moves so many times.")
@click.option("--fault", type=_Fault(), multiple=True, help="A board: reset@N, alarm@N or unplug@N in its Nth move.")
@click.option("--api", type=click.Choice(["v2", "v3"]), default="v3", show_default=True, help="OpenFlexure's version.")
@click.option("--toml", type=click.Path(path_type=Path), help="Write the instrument's file here, to be scanned with.")
@click.option("--seconds", type=click.FloatRange(min=0), help="End by itself; else with Ctrl-C.")
@json_option
def serve_emulator(
    name: EmulatorName,
    instrument: str,
    specimen: str,
    seed: int,
    haste: float,
    fault: tuple[tuple[str, int], ...],
    api: str,
    toml: Path | None,
    seconds: float | None,
    as_json: bool,
) -> None:
    """Serve a board, or an OpenFlexure server, that exists in software only, with its camera, until Ctrl-C.

    It speaks the real protocol with real timing. Its stage, with real backlash, moves the specimen of a simulated
    microscope, which its camera sees. It prints its port or URL, and the instrument's file that uses it. It listens on
    this machine only. Not on Windows, which has no pseudo-terminals; OpenFlexure is served there too.

    \b
    Examples:
      parfocal microscope serve-emulator grbl --toml emulated.toml
      parfocal scan emulated.toml --out my-slide           (in another terminal)
      parfocal microscope serve-emulator marlin --specimen blood-smear --haste 10
      parfocal microscope serve-emulator sangaboard --fault unplug@40
      parfocal microscope serve-emulator openflexure --api v2
    """
    from parfocal.config import open_microscope
    from parfocal.config.tables import read_instrument_file
    from parfocal.config.writing import instrument_text
    from parfocal.emulators.serving import serve

    opened = open_microscope(instrument, specimen, seed)
    file = read_instrument_file(instrument)
    versions = {"v2": "v2", "v3": "v3"}
    with serve(name, opened.microscope, haste=haste, faults=_faults(fault), api=versions[api]) as served:  # type: ignore[arg-type]
        text = instrument_text(_instrument(file, name, served))
        if toml is not None:
            _write(toml, text)
        if as_json:
            click.echo(json.dumps({"emulator": name, **served.addresses, "toml": text}))
        else:
            _tell(name, served, text, toml)
        _stay(math.inf if seconds is None else seconds)


def _faults(wanted: tuple[tuple[str, int], ...]) -> Faults:
    from parfocal.emulators.firmware import Faults

    moves = dict(wanted)
    return Faults(moves.get("reset"), moves.get("alarm"), moves.get("unplug"))


def _instrument(file: InstrumentFile, name: str, served: Served) -> InstrumentFile:
    """The same instrument, its devices behind drivers."""
    values = file.model_dump(exclude_unset=True, exclude={"simulated", "name", "kind"})
    return type(file).model_validate(
        {"name": f"emulated-{name}", "kind": "devices", **values, "devices": served.devices}
    )


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise FileError(f"{path} cannot be written: {error.strerror}") from error


def _tell(name: str, served: Served, text: str, toml: Path | None) -> None:
    for what, where in served.addresses.items():
        click.echo(f"{name} {what}: {where}")
    if toml is None:
        click.echo(f"\n# instrument's file:\n{text}")
    else:
        click.echo(f"\nIn another terminal: parfocal scan {toml} --out my-slide --area 0.5x0.5")
    click.echo("Ctrl-C ends it.")


def _stay(seconds: float) -> None:
    """Wait, and end as well as may be by Ctrl-C or SIGTERM."""
    import sys

    sys.stdout.flush()

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    until_s = time.monotonic() + seconds
    try:
        while time.monotonic() < until_s:
            time.sleep(min(_WAIT_S, max(0.0, until_s - time.monotonic())))
    except KeyboardInterrupt:
        return
    finally:
        signal.signal(signal.SIGTERM, before)
