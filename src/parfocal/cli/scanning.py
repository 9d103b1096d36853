"""Commands that move a microscope, and what becomes of its fields: scan, rescan, focus, verify, info."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from parfocal.cli.keys import keys_pause
from parfocal.cli.terminal import Bars, json_option, lamp_attended, network_option, show, terminable
from parfocal.errors import SettingsError

if TYPE_CHECKING:
    from parfocal.focus.policies import PolicyName

_MAX_SIDE_MM = 200.0
_TOLD_BY_FOLDER = (
    "out", "specimen", "area", "seed", "calibration", "accept_stale", "policy", "everywhere", "overwrite", "slide_id",
    "label",
)  # fmt: skip
POLICIES = ("surface", "pair-then-keep", "paper", "paper-as-printed", "parabola", "stack", "sweep")


class _Area(click.ParamType[tuple[float, float]]):
    """WxH in mm."""

    name = "WxH"

    def convert(
        self, value: str | tuple[float, float], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float]:
        if not isinstance(value, str):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)[x×](\d+(?:\.\d*)?|\.\d+)", value.strip())
        if not match:
            self.fail(f"{value!r} is not WxH in mm, such as 2x2 or 1.5x1", param, ctx)
        width, height = float(match[1]), float(match[2])
        if not (0 < width <= _MAX_SIDE_MM and 0 < height <= _MAX_SIDE_MM):
            self.fail(f"{value!r}: each side is above 0 and at most {_MAX_SIDE_MM:g} mm", param, ctx)
        return width, height


AREA = _Area()


@click.command()
@click.argument("microscope", required=False)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the result; new or empty.")
@click.option("--resume", type=click.Path(path_type=Path), help="Go on with the scan in this folder instead.")
@click.option("--specimen", help="Sample's name, or image:PATH (see below).  [default: he-tissue]")
@click.option("--area", type=AREA, default=(2.0, 2.0), help="Width and height in mm.  [default: 2x2]")
@network_option
@click.option("--seed", type=int, default=0, show_default=True, help="Of specimen, errors and noise.")
@click.option("--calibration", type=click.Path(path_type=Path), help="File of `parfocal calibrate` to go by.")
@click.option("--accept-stale", is_flag=True, help="Even if the calibration is older than 90 days.")
@click.option("--accept-changes", is_flag=True, help="Resume even if instrument, settings or slide have changed.")
@click.option("--policy", type=click.Choice(POLICIES), help="How a field is focused.  [default: surface]")
@click.option("--everywhere", is_flag=True, help="Visit every field, not only tissue and its border.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier scan in the folder.")
@click.option("--slide-id", default="", help="What the laboratory calls the slide; exports are pseudonymous.")
@click.option("--label", type=click.Path(path_type=Path), help="Photograph of the slide's label.")
@json_option
@click.pass_context
def scan(
    context: click.Context,
    microscope: str | None,
    out: Path | None,
    resume: Path | None,
    specimen: str | None,
    area: tuple[float, float],
    network: Path | None,
    seed: int,
    calibration: Path | None,
    accept_stale: bool,
    accept_changes: bool,
    policy: PolicyName | None,
    everywhere: bool,
    overwrite: bool,
    slide_id: str,
    label: Path | None,
    as_json: bool,
) -> None:
    """Scan a region of a slide into a virtual slide, or go on with a scan that broke off.

    MICROSCOPE is simulated-20x, simulated-40x, paper-40x, or the path of a TOML file. Specimens of a simulated
    microscope are he-tissue, blood-smear, gram-smear, marrow, body-fluid, semen, leaves, unstained, and image:PATH with
    any image, or slide that OpenSlide reads.

    Sparse fields are visited first; they show where tissue is and how the slide lies. By the policy `surface` a field
    takes one exposure where its focus is known well enough, more where it is not, and frames in doubt are taken again
    at the end. `paper` is the paper's way, three exposures a field.

    A scan that broke off, by Ctrl-C, a fault or a power failure, goes on with --resume: its folder knows instrument,
    slide and settings. On a terminal p pauses a scan, the lamp off, and p goes on.

    \b
    Exit codes: 0 finished, 2 bad input, 3 stopped (what was scanned can be stitched, and the scan resumed).
    \b
    Examples:
      parfocal scan simulated-20x --out my-slide
      parfocal scan --resume my-slide
      parfocal scan simulated-20x --out smear --specimen blood-smear --area 1x1 --seed 3
      parfocal scan simulated-40x --out sputum --specimen gram-smear --area 1x1 --json
      parfocal scan simulated-20x --out photo --specimen image:tissue.png
      parfocal scan simulated-20x --out by-the-paper --policy paper --everywhere
      parfocal scan simulated-20x --out s12 --slide-id S-2026-0012 --label label.jpg
    """
    from parfocal import api

    if resume is not None:
        _refuse_beside_resume(context)
        _show_scanned(_resume(resume, microscope, network, accept_changes, as_json), resume, as_json)
        return
    if microscope is None or out is None:
        raise click.UsageError("a scan needs MICROSCOPE and --out; to go on with one, --resume FOLDER")
    with terminable(), keys_pause(quiet=as_json) as switch:
        instrument = api.open_microscope(microscope, specimen, seed, calibration=calibration, accept_stale=accept_stale)
        with instrument, lamp_attended(instrument), Bars(quiet=as_json) as bars:
            report = api.scan(
                instrument,
                out,
                area,
                predictor=instrument.predictor(network),
                policy=policy,
                everywhere=everywhere or None,
                overwrite=overwrite,
                slide_id=slide_id,
                label=label,
                on_progress=bars.scanned,
                on_stitch=bars.stitched,
                switch=switch,
            )
    _show_scanned(report, out, as_json)


def _refuse_beside_resume(context: click.Context) -> None:
    """What a folder tells itself cannot be told otherwise."""
    for name in _TOLD_BY_FOLDER:
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            option = "--" + name.replace("_", "-")
            raise click.UsageError(f"{option} does not go with --resume: the folder tells how its scan was begun")


def _resume(
    folder: Path, microscope: str | None, network: Path | None, accept_changes: bool, as_json: bool
) -> dict[str, Any]:
    from parfocal import api

    with terminable(), keys_pause(quiet=as_json) as switch, Bars(quiet=as_json) as bars:
        opened = api.open_again(folder, microscope, network=network) if api.needs_instrument(folder) else None
        with lamp_attended(opened.instrument if opened else None):
            return api.resume(
                folder,
                opened,
                accept_changes=accept_changes,
                on_progress=bars.scanned,
                on_stitch=bars.stitched,
                switch=switch,
            )


def _show_scanned(report: dict[str, Any], folder: Path, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        _show_report(report, folder)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("microscope")
@click.option(
    "--field", "fields", type=click.IntRange(min=0), multiple=True, help="A field's number; as often as wanted."
)
@click.option("--specimen", help="Under a simulated microscope.  [default: he-tissue]")
@click.option("--seed", type=int, default=0, show_default=True, help="Of specimen, errors and noise.")
@network_option
@click.option("--calibration", type=click.Path(path_type=Path), help="File of `parfocal calibrate` to go by.")
@click.option("--accept-stale", is_flag=True, help="Even if the calibration is older than 90 days.")
@json_option
def rescan(
    folder: Path,
    microscope: str,
    fields: tuple[int, ...],
    specimen: str | None,
    seed: int,
    network: Path | None,
    calibration: Path | None,
    accept_stale: bool,
    as_json: bool,
) -> None:
    """Take fields of a finished scan in FOLDER again, and make its slide and report anew.

    Those that the report lists in doubt, unless told. MICROSCOPE is the one that scanned; the slide must still lie
    under it. Earlier frames stay in the folder, the last attempt of a field counts.

    \b
    Examples:
      parfocal rescan my-slide simulated-20x
      parfocal rescan my-slide simulated-20x --field 7 --field 8
    """
    from parfocal import api

    with terminable():
        instrument = api.open_microscope(microscope, specimen, seed, calibration=calibration, accept_stale=accept_stale)
        with instrument, lamp_attended(instrument), Bars(quiet=as_json) as bars:
            report = api.rescan(
                instrument,
                folder,
                fields or None,
                predictor=instrument.predictor(network),
                on_progress=bars.scanned,
                on_stitch=bars.stitched,
            )
    _show_scanned(report, folder, as_json)


def _show_report(report: dict[str, Any], out: Path) -> None:
    focus, stitching = report["focus"], report["stitching"]
    lines = [
        f"{report['fields']} fields, {report['fields_empty']} empty, {len(report['fields_in_doubt'])} in doubt, "
        f"{report['rescanned']} taken again",
        f"{report['images_total']} exposures; {report['modelled_time_s']:.1f} s by the instrument's clock",
    ]
    if report["images_per_field"] is not None:
        lines.append(f"{report['images_per_field']:.2f} exposures a field")
    if focus["in_focus_fraction"] is not None:
        lines.append(
            f"{focus['in_focus_fraction']:.1%} of {focus['tissue_fields']} tissue fields in focus, mean error "
            f"{focus['mean_abs_error_um']:.2f} µm (depth of field {focus['depth_of_field_um']:.2f} µm)"
        )
    if report["tissue_coverage"] is not None:
        lines.append(f"{report['tissue_coverage']:.1%} of the tissue fields visited")
    if stitching["rms_error_px"] is not None:
        accepted = f"{stitching['accepted']} of {stitching['seams']} seams"
        lines.append(f"stitched by {accepted}, error {stitching['rms_error_px']:.2f} px rms against the true positions")
    click.echo("\n".join(lines + _drift_lines(report.get("drift", {}))))
    click.echo(f"\nSlide:    {out / report['slide']}   (opens in QuPath)")
    click.echo(f"Overview: {out / 'overview.jpg'}\nFocus:    {out / 'focus.png'}\nReport:   {out / 'report.json'}")


def _drift_lines(drift: dict[str, Any]) -> list[str]:
    """What is known of it, and its warnings; nothing of reports of older versions."""
    told = []
    if drift.get("light_change") is not None:
        told.append(f"light {drift['light_change']:+.1%} from first field to last")
    if drift.get("focus_um_per_min") is not None:
        told.append(f"focus {drift['focus_um_per_min']:+.2f} µm a minute")
    lines = [f"drift: {', '.join(told)}"] if told else []
    return lines + [f"warning: {warning}" for warning in drift.get("warnings", [])]


@click.command()
@click.argument("microscope", default="simulated-20x")
@click.option("--replay", type=click.Path(path_type=Path), help="Play a recorded z-stack: a folder with stack.json.")
@click.option("--start", type=float, help="Replay: plane of the first image, in the stack's unit.")
@click.option("--um-per-step", type=float, help="Replay: µm of a step, for a stack in steps.")
@click.option("--specimen", default="he-tissue", show_default=True, help="Under a simulated microscope.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of specimen, errors and noise.")
@network_option
@json_option
def focus(
    microscope: str,
    replay: Path | None,
    start: float | None,
    um_per_step: float | None,
    specimen: str,
    seed: int,
    network: Path | None,
    as_json: bool,
) -> None:
    """Focus one field: of a simulated microscope, or of a recorded z-stack.

    \b
    Examples:
      parfocal focus simulated-20x --specimen blood-smear
      parfocal focus --replay my-stack --start 2 --json
    """
    from parfocal import api

    with terminable():
        if replay is not None:
            result = api.focus_replay(replay, microscope, start_z=start, um_per_step=um_per_step, network=network)
        else:
            if start is not None or um_per_step is not None:
                raise SettingsError("--start and --um-per-step go with --replay")
            result = api.focus_once(microscope, specimen, seed, network)
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    for step in result["trace"]:
        move = step["move"]
        what = f"{move['kind']}: {move['reason']}" if move else ""
        click.echo(f"{step['purpose']:>6}  z {step['z_um']:8.2f} µm  {what} {step['note']}".rstrip())
    best = "" if result["best_z"] is None else f", best {result['best_z']:g}"
    click.echo(f"{result['verdict']} at {result['final_z']:g}{best}, after {result['images']} images")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@json_option
def verify(folder: Path, as_json: bool) -> int:
    """Look whether a scan's FOLDER holds all that was ever written into it: every line, every frame, byte for byte.

    \b
    Exit codes: 0 all is well and complete, 2 no scan, 3 something is missing, damaged, or was not taken yet.
    \b
    Examples:
      parfocal verify my-slide
      parfocal verify my-slide --json
    """
    from parfocal import api
    from parfocal.cli import EXIT_STOPPED

    with terminable(), Bars(quiet=as_json) as bars:
        verified = api.verify(folder, bars.stitched)
    show(verified.to_json(), as_json)
    return 0 if verified.is_well else EXIT_STOPPED


@click.command()
@click.argument("path")
@json_option
def info(path: str, as_json: bool) -> None:
    """Describe a slide of any format, or a fields folder.

    PATH is a file, a folder (of fields, OME-Zarr or DICOM files) or a URL such as s3://bucket/slide.zarr.

    \b
    Examples:
      parfocal info my-slide
      parfocal info my-slide/slide.ome.tif --json
    """
    from parfocal import api

    show(api.describe(path), as_json)
