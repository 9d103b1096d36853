"""The command around focal stacks: label."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from parfocal.cli.terminal import Bars, json_option, terminable
from parfocal.errors import SettingsError

if TYPE_CHECKING:
    from parfocal.stacks.labels import FocusLabel
    from parfocal.stacks.page import Judged
    from parfocal.stacks.stack import FocalStack, LabelState

DEFAULT_MERIT = "tenengrad"


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--merit", default=DEFAULT_MERIT, show_default=True, help="Figure of merit; the paper's: see below.")
@click.option("--accept-single-peaks", is_flag=True, help="Confirm every curve beyond doubt that is still auto.")
@click.option("--set", "corrections", multiple=True, metavar="STACK=Z", help="Correct a stack's best z.")
@click.option("--confirm", multiple=True, metavar="STACK", help="Confirm a stack's peak, doubts or not.")
@click.option("--reject", multiple=True, metavar="STACK", help="Leave a stack out of training and evaluation.")
@click.option("--plot", type=click.Path(path_type=Path), help="PNG to draw the curves into.")
@click.option("--html", type=click.Path(path_type=Path), help="Page to judge the stacks on, in any browser.")
@json_option
def label(
    path: Path,
    merit: str,
    accept_single_peaks: bool,
    corrections: tuple[str, ...],
    confirm: tuple[str, ...],
    reject: tuple[str, ...],
    plot: Path | None,
    html: Path | None,
    as_json: bool,
) -> None:
    """Where are z-stacks in focus, and is that beyond doubt?

    PATH is a folder with stack.json, or a folder of such folders. The label is the peak of the figure-of-merit curve
    (tenengrad, or variance-of-laplacian as in the paper), between the planes. Other peaks (dust, a second layer), a
    peak at the end and flat curves are told. Only what is confirmed, corrected or rejected is written to stack.json.
    The page of --html shows curves and planes; a click on a plane puts the command together that says so.

    \b
    Examples:
      parfocal label my-stacks --plot curves.png
      parfocal label my-stacks --accept-single-peaks --html review.html
      parfocal label my-stacks --set field-7=3.25 --confirm field-8 --reject field-9
    """
    from parfocal.stacks.labels import find_label, write_label
    from parfocal.stacks.page import Judged, write_page
    from parfocal.stacks.sets import read_stacks

    stacks = read_stacks(path)
    decided = _decisions({stack.name: stack for stack in stacks}, corrections, confirm, reject)
    found: list[tuple[FocalStack, FocusLabel]] = []
    with terminable(), Bars(quiet=as_json) as bars:
        for done, stack in enumerate(stacks, start=1):
            found.append((stack, find_label(stack, merit)))
            bars.stitched("labelling", done, len(stacks))
    judged: list[Judged] = []
    for stack, curve in found:
        state, place = decided.get(stack.name, (None, None))
        if state is None and accept_single_peaks and stack.label_state == "auto" and not curve.doubts:
            state = "confirmed"
        if state is not None:
            place = curve.best_z if state == "confirmed" else place
            write_label(stack.files[0].parent, place, state)
        kept = stack.best_z if place is None else place
        judged.append(Judged(stack, curve, kept, state or stack.label_state))
    if plot is not None:
        from parfocal.stacks.pictures import draw_curves

        draw_curves(found, plot)
    if html is not None:
        write_page(judged, _command(path, merit), html)
    rows = [_row(one) for one in judged]
    click.echo(json.dumps({"merit": merit, "stacks": rows}, indent=2) if as_json else "\n".join(map(_line, rows)))


def _decisions(
    stacks: dict[str, FocalStack], corrections: tuple[str, ...], confirm: tuple[str, ...], reject: tuple[str, ...]
) -> dict[str, tuple[LabelState, float | None]]:
    """What is to be written for which stack: state, and place where it is given."""
    from parfocal.stacks.labels import checked_place

    wanted: list[tuple[str, LabelState, str | None]] = []
    for text in corrections:
        name, _, corrected = text.rpartition("=")
        wanted.append((name, "corrected", corrected))
    wanted += [(name, "confirmed", None) for name in confirm] + [(name, "rejected", None) for name in reject]
    decided: dict[str, tuple[LabelState, float | None]] = {}
    for name, state, place in wanted:
        if name not in stacks:
            raise SettingsError(f"there is no stack {name!r}: {', '.join(stacks)}")
        if name in decided:
            raise SettingsError(f"stack {name} is decided upon twice")
        decided[name] = state, None if place is None else checked_place(stacks[name], place)
    return decided


def _command(path: Path, merit: str) -> list[str]:
    """Words of the command that decisions are added to."""
    return ["parfocal", "label", str(path)] + ([] if merit == DEFAULT_MERIT else ["--merit", merit])


def _row(one: Judged) -> dict[str, Any]:
    return {
        "stack": one.stack.name,
        "peak_z": one.curve.best_z,
        "z_unit": one.stack.z_unit,
        "suspected_z": list(one.curve.suspected_z),
        "doubts": list(one.curve.doubts),
        "best_z": one.best_z,
        "label_state": one.state,
    }


def _line(row: dict[str, Any]) -> str:
    known = "no label" if row["best_z"] is None else f"label {row['best_z']:g}, {row['label_state']}"
    doubts = "; ".join(row["doubts"]) or "one clear peak"
    return f"{row['stack']:24} peak at {row['peak_z']:.3f} {row['z_unit']} ({known}): {doubts}"
