"""The guided first run of an instrument: setup."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from parfocal.cli.terminal import Bars, json_option, terminable
from parfocal.errors import SettingsError

if TYPE_CHECKING:
    from parfocal.config import Instrument

STEPS = ("devices", "light", "directions", "limits", "home", "focus", "backlash", "flat", "scan")
Values = dict[str, Any]


@click.command()
@click.argument("instrument", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--step", "chosen", type=click.Choice(STEPS), multiple=True, help="Only this one; as often as wanted.")
@click.option("--yes", is_flag=True, help="Take every proposed answer: for a file that is there already.")
@json_option
def setup(instrument: Path, chosen: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Set up a new microscope, step by step, and write its file, INSTRUMENT (a .toml that need not be there yet).

    Each step says what it does before anything moves, shows a picture, and says in words what is wrong. All of them can
    be repeated alone; the file keeps what each has found.

    \b
    Steps:
      devices     which camera, stages and lamp; the lens; limits of z
      light       a picture: is it bright enough, is there something to see?
      directions  which way x and y run, and the size of a pixel, by moving a frame's side around
      limits      how far z may go, and whether up is towards the objective
      home        find the stages' reference, where they have one
      focus       the first sweep for the focus
      backlash    of z, x and y, and the pixel size over a long way (minutes)
      flat        flat field and white balance
      scan        a first scan of 3 x 3 fields
    \b
    Examples:
      parfocal setup my-microscope.toml
      parfocal setup my-microscope.toml --step directions --step limits
      parfocal setup my-microscope.toml --step light --step focus --yes --json
    """
    guide = _Guide(instrument, takes_proposals=yes, is_quiet=as_json)
    if not instrument.exists() and "devices" not in (chosen or STEPS):
        raise SettingsError(f"{instrument} is not there yet: begin with the step devices")
    with terminable():
        for step in STEPS:
            if (step in chosen) if chosen else (step != "devices" or not instrument.exists() or not yes):
                guide.run(step)
    if as_json:
        click.echo(json.dumps({"file": str(instrument), "steps": guide.told}, indent=2))
    else:
        guide.say(f"{instrument} is written. Next: parfocal scan {instrument} --out my-slide")


class _Guide:
    """Asks, measures, shows, and writes down."""

    def __init__(self, path: Path, *, takes_proposals: bool, is_quiet: bool) -> None:
        self.path = path
        self.told: dict[str, Values] = {}
        self._takes_proposals = takes_proposals
        self._is_quiet = is_quiet

    def run(self, step: str) -> None:
        """Run one step and keep what it found."""
        from parfocal.config.written import read_values

        self.say(f"\n{step}")
        steps: dict[str, Callable[[Values], Values]] = {
            "devices": self._devices,
            "light": self._light,
            "directions": self._directions,
            "limits": self._limits,
            "home": self._home,
            "focus": self._focus,
            "backlash": self._backlash,
            "flat": self._flat,
            "scan": self._scan,
        }
        self.told[step] = steps[step](read_values(self.path) if self.path.exists() else {})

    def say(self, text: str) -> None:
        """Print, unless JSON is wanted."""
        if not self._is_quiet:
            click.echo(text)

    def _ask(self, question: str, proposal: Any) -> Any:
        return proposal if self._takes_proposals else click.prompt(f"  {question}", default=proposal)

    def _agree(self, question: str) -> bool:
        return self._takes_proposals or click.confirm(f"  {question}", default=True)

    def _write(self, values: Values) -> None:
        from parfocal.config.written import write_values

        write_values(self.path, values)

    def _opened(self) -> Instrument:
        from parfocal.api import open_microscope

        return open_microscope(str(self.path))

    def _show(self, name: str, frame: Any) -> str:
        """Write a picture beside the file; its path."""
        import cv2

        picture = self.path.with_name(f"{self.path.stem}-{name}.png")
        cv2.imwrite(str(picture), frame[..., ::-1])
        self.say(f"  picture: {picture}")
        return str(picture)

    def _devices(self, values: Values) -> Values:
        from parfocal.config.connected import as_toml, look_for_devices
        from parfocal.config.proposed import proposed_values, with_limits

        found = [one for driver in look_for_devices() for one in driver.found]
        for number, one in enumerate(found, 1):
            self.say(f"  {number}: {one.description}, at {one.address}")
        tables: Values = dict(values.get("devices", {}))
        answer = str(self._ask("numbers of the devices to use, such as 1 3; none keeps the file's", ""))
        for word in answer.split():
            if not word.isdecimal() or not 1 <= int(word) <= len(found):
                raise SettingsError(f"{word!r} is none of the numbers 1 to {len(found)}")
            one = found[int(word) - 1]
            self.say("  " + as_toml(one).replace("\n", "\n  "))
            tables[one.driver] = {"driver": one.driver, **one.settings}
        written = proposed_values(self.path.stem, values)
        if tables:
            written["devices"], written["kind"] = tables, "devices"
        for table, key, question in _QUESTIONS:
            written[table][key] = float(self._ask(question, written[table][key]))
        rows, columns = written["camera"]["frame_shape"]
        columns, rows = (
            int(self._ask(what, side)) for what, side in (("frame's width, px", columns), ("height", rows))
        )
        written["camera"]["frame_shape"] = [rows, columns]
        self._write(with_limits(written, written["z"]["lowest_um"], written["z"]["highest_um"]))
        return {"devices": sorted(tables), "found": len(found)}

    def _light(self, _values: Values) -> Values:
        from parfocal.devices.approach import lamp_lit
        from parfocal.scan.first_look import judge_light

        with self._opened() as instrument, lamp_lit(instrument.microscope.lamp):
            frame = instrument.microscope.camera.snap()
        wrong = judge_light(frame)
        picture = self._show("light", frame)
        self.say(
            "".join(f"  wrong: {one}\n" for one in wrong).rstrip() or "  bright enough, and there is something to see"
        )
        return {"wrong": wrong, "picture": picture}

    def _directions(self, values: Values) -> Values:
        from dataclasses import asdict

        from parfocal.config.proposed import with_directions
        from parfocal.devices.approach import lamp_lit
        from parfocal.scan.first_look import measure_directions

        if not self._agree("x and y will move by a frame's side around where they stand; is there room?"):
            return {"skipped": True}
        self._write(with_directions(values, (), swap_xy=False))  # as the device has them
        try:
            with self._opened() as instrument, lamp_lit(instrument.microscope.lamp):
                found = measure_directions(instrument.microscope)
        finally:
            self._write(values)
        values = with_directions(values, found.invert, swap_xy=found.swap_xy)
        values["camera"] = {**values["camera"], "pixel_size_um": round(found.pixel_size_um, 4)}
        self._write(values)
        self.say(f"  runs the other way: {', '.join(found.invert) or 'neither'}; swapped: {found.swap_xy}")
        self.say(f"  a pixel is {found.pixel_size_um:.4f} µm; the camera is turned by {found.turned_deg:+.1f}°")
        return asdict(found)

    def _limits(self, values: Values) -> Values:
        from parfocal.config.proposed import with_limits, with_z_turned
        from parfocal.devices.approach import GuardedZ

        zs = dict(values["z"])
        for key, what in (("lowest_um", "lowest z, µm"), ("highest_um", "highest z, µm: the glass must not touch")):
            zs[key] = float(self._ask(what, zs[key]))
        values = with_limits(values, zs["lowest_um"], zs["highest_um"])
        self._write(values)
        if self._agree("z will go up by 20 µm and back, to see which way that is; is there room?"):
            with self._opened() as instrument:
                microscope, settings = instrument.microscope, instrument.settings
                z = GuardedZ(microscope.z, microscope.clock, settings.approach, settings.limits)
                before_um = z.position_um
                z.move_to(before_um + 20.0)
                rose = self._agree("did the specimen come nearer to the objective?")
                z.move_to(before_um)
            if not rose:
                self.say("  z runs the other way: written down")
                self._write(with_z_turned(values))
        return zs

    def _home(self, _values: Values) -> Values:
        from parfocal.devices.base import Homing

        with self._opened() as instrument:
            microscope = instrument.microscope
            able = [name for name in ("xy", "z") if isinstance(getattr(microscope, name), Homing)]
            if not able:
                self.say("  these stages have no reference of their own")
                return {"homed": []}
            if not self._agree(f"{' and '.join(able)} will go to the reference; is the way free?"):
                return {"homed": []}
            for name in sorted(able, reverse=True):  # z first: away from the objective
                getattr(microscope, name).home()
        return {"homed": able}

    def _focus(self, _values: Values) -> Values:
        from parfocal.devices.approach import GuardedZ, lamp_lit
        from parfocal.focus.search import initial_focus

        with self._opened() as instrument, lamp_lit(instrument.microscope.lamp):
            microscope, settings = instrument.microscope, instrument.settings
            z = GuardedZ(microscope.z, microscope.clock, settings.approach, settings.limits)
            sweep = initial_focus(microscope, z, settings.sweep)
        self.say(f"  {sweep.reason}" + (f"; focus at {sweep.z_um:.1f} µm" if sweep.verdict == "found" else ""))
        picture = self._show("focus", sweep.frame)
        return {"verdict": sweep.verdict, "z_um": sweep.z_um, "reason": sweep.reason, "picture": picture}

    def _backlash(self, values: Values) -> Values:
        report = self._calibrated(["backlash", "stage"])
        with self._opened() as instrument:
            settings = self._applied(instrument)
        approach, xy = dict(values["approach"]), dict(values.get("xy", {}))
        approach["backlash_um"], approach["take_up_um"] = settings.approach.backlash_um, settings.approach.take_up_um
        xy["backlash_um"], xy["neighbour_error_um"] = list(settings.xy_backlash_um), settings.neighbour_error_um
        camera = {**values["camera"], "pixel_size_um": round(report["pixel_size_um"], 5)}
        self._write({**values, "approach": approach, "xy": xy, "camera": camera})
        self.say(f"  z: {approach['backlash_um']:.1f} µm, x and y: {xy['backlash_um']} µm")
        return {
            "approach": approach,
            "xy": xy,
            "pixel_size_um": camera["pixel_size_um"],
            "pictures": report["pictures"],
        }

    def _flat(self, _values: Values) -> Values:
        report = self._calibrated(["light"])
        self.say(f"  kept in {report['file']}: give it to a scan by --calibration")
        return {"file": report["file"], "pictures": report["pictures"]}

    def _scan(self, values: Values) -> Values:
        from parfocal import api

        rows, columns = values["camera"]["frame_shape"]
        pixel_um = values["camera"]["pixel_size_um"]
        area_mm = (2.4 * columns * pixel_um / 1000, 2.4 * rows * pixel_um / 1000)
        out = self.path.with_name(f"{self.path.stem}-first-scan")
        with self._opened() as instrument, Bars(quiet=self._is_quiet) as bars:
            report = api.scan(
                instrument, out, area_mm, everywhere=True, overwrite=True, on_progress=bars.scanned,
                on_stitch=bars.stitched,
            )  # fmt: skip
        self.say(f"  {report['fields']} fields, {len(report['fields_in_doubt'])} in doubt: {out / 'overview.jpg'}")
        return {"fields": report["fields"], "in_doubt": len(report["fields_in_doubt"]), "folder": str(out)}

    @property
    def _calibration(self) -> Path:
        return self.path.with_name(f"{self.path.stem}.calibration.json")

    def _calibrated(self, steps: list[str]) -> Values:
        from parfocal import api

        with self._opened() as instrument, Bars(quiet=self._is_quiet) as bars:
            report = api.calibrate(instrument, steps, self._calibration, repeats=3, on_progress=bars.stitched)
        for picture in report["pictures"]:
            self.say(f"  picture: {picture}")
        return report

    def _applied(self, instrument: Instrument) -> Any:
        from parfocal.scan.calibration.record import apply_calibration, read_calibration

        return apply_calibration(instrument.settings, read_calibration(self._calibration, instrument.microscope))


_QUESTIONS = (
    ("objective", "magnification", "magnification of the objective, onto the sensor"),
    ("objective", "na", "its numerical aperture"),
    ("camera", "sensor_pixel_um", "unbinned pixel of the sensor, µm"),
    ("camera", "pixel_size_um", "size of a frame's pixel in the specimen, µm, about"),
    ("z", "lowest_um", "lowest z, µm"),
    ("z", "highest_um", "highest z, µm: the glass must not touch the lens"),
)
