"""Commands that measure what the documentation claims: benchmark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from parfocal import __version__
from parfocal.cli.adapting import adapters
from parfocal.cli.terminal import (
    Bars,
    jobs_option,
    json_option,
    lens_option,
    network_option,
    renderer_option,
    show,
    terminable,
    tiles_option,
)
from parfocal.errors import SettingsError

if TYPE_CHECKING:
    from parfocal.stacks.protocol import LensName, Protocol
    from parfocal.stacks.simulated import Renderer


@click.group()
def benchmark() -> None:
    """Measure the figures that the documentation claims."""


benchmark.add_command(adapters)


@benchmark.command()
@json_option
def backlash(as_json: bool) -> None:
    """Achieved Δ over a backlash of 0 to 25 µm, with our approach and with the paper's printed constants.

    \b
    Examples:
      parfocal benchmark backlash
    """
    from parfocal.benchmark.backlash import achieved_deltas

    rows = achieved_deltas()
    if as_json:
        click.echo(json.dumps({"rows": rows}, indent=2))
        return
    click.echo("achieved Δ in µm, of 3 µm commanded; the stage is set up for its backlash, for 20 µm, or as printed")
    click.echo("backlash      fitted   for 20 µm   as printed")
    for row in rows:
        values = (row["corrected_um"], row["configured_um"], row["as_printed_um"])
        click.echo(f"{row['backlash_um']:5.0f} µm   {values[0]:9.2f}   {values[1]:9.2f}   {values[2]:10.2f}")


@benchmark.command()
@network_option
@json_option
def inference(network: Path | None, as_json: bool) -> None:
    """Time of one field of four patches on one thread: ONNX Runtime against torch, in the same run.

    Needs the `train` extra (torch).

    \b
    Examples:
      parfocal benchmark inference
    """
    from dataclasses import asdict

    from parfocal.benchmark.inference import compare_runtimes
    from parfocal.config import shipped_network

    times = compare_runtimes(network or shipped_network())
    if as_json:
        click.echo(json.dumps(asdict(times), indent=2))
        return
    click.echo(
        f"four patches on one thread: ONNX Runtime {times.onnxruntime_ms:.2f} ms, torch eager {times.torch_ms:.2f} ms, "
        f"{times.ratio:.2f} times as long; with {times.preparation_ms:.1f} ms of preparation "
        f"{times.ratio_with_preparation:.2f} times"
    )


@benchmark.command()
@network_option
@click.option("--against", multiple=True, type=click.Path(path_type=Path), help="Another network; as often as wanted.")
@click.option("--fields", type=click.IntRange(min=1), default=20, show_default=True, help="Stacks of each set.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of the sets.")
@renderer_option
@lens_option
@tiles_option
@jobs_option
@click.option(
    "--sets", type=click.Path(path_type=Path), default="accuracy-sets", show_default=True, help="Folder of the sets."
)
@json_option
def accuracy(
    network: Path | None,
    against: tuple[Path, ...],
    fields: int,
    seed: int,
    renderer: Renderer,
    lens: LensName,
    tiles: tuple[int, int],
    jobs: int | None,
    sets: Path,
    as_json: bool,
) -> None:
    """Error of the network on the frozen sets, beside methods without training and other networks.

    The sets *same* and *different* are rendered by `parfocal synthesize` when they are not there yet: hours on a few
    cores by Abbe's sum. The parabola has one image more than the network, the full stack all of them. Through another
    lens than 20X/0.75 the sets carry its name; at 40X/0.65 they reach ±25 µm and Δ is 3 µm.

    \b
    Examples:
      parfocal benchmark accuracy
      parfocal benchmark accuracy --fields 2 --tiles 1x1 --renderer fast --sets quick-sets
      parfocal benchmark accuracy --lens 40x0.65
      parfocal benchmark accuracy --network mine.onnx --against theirs.onnx --json
    """
    from parfocal.benchmark.accuracy import as_text, measure_accuracy
    from parfocal.config import shipped_network
    from parfocal.stacks.protocol import DEFAULT_LENS
    from parfocal.stacks.simulated import SetSettings, synthesize

    protocols: tuple[Protocol, ...] = ("same", "different")
    through = "" if lens == DEFAULT_LENS else f"-{lens}"
    folders = [sets / f"{protocol}{through}" for protocol in protocols]
    with terminable(), Bars(quiet=as_json) as bars:
        for protocol, folder in zip(protocols, folders, strict=True):
            settings = SetSettings(protocol, seed, renderer, tiles, lens=lens)
            synthesize(folder, settings, fields, jobs, bars.stitched)
        networks = (network or shipped_network(), *against)
        rows = measure_accuracy(folders, networks, bars.stitched)
    if as_json:
        of_sets = {"seed": seed, "fields": fields, "renderer": renderer, "tiles": list(tiles), "lens": lens}
        click.echo(json.dumps({**of_sets, "version": __version__, "rows": [row.to_json() for row in rows]}, indent=2))
    else:
        click.echo(as_text(rows))


@benchmark.command()
@click.option(
    "--network", "networks", multiple=True, type=click.Path(path_type=Path), help="ONNX file; as often as wanted."
)
@click.option("--fields", type=click.IntRange(min=1), default=8, show_default=True, help="Random specimens.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of everything drawn.")
@json_option
def delta(networks: tuple[Path, ...], fields: int, seed: int, as_json: bool) -> None:
    """Error over Δ, from 2 to 5 µm at 40X/0.65, under noise and JPEG: the paper's claim in section 4.2.

    Pairs of simulated specimens whose second image lies within ±25 µm of the focus: with a quiet camera, a noisy one
    (full well of 5,000 electrons), and JPEG of quality 90 and 60. Every network is asked for those Δ that it was
    trained on: give a network for each Δ, or one that knows them all. Parfocal's own, which knows 3 µm, unless told.

    \b
    Examples:
      parfocal benchmark delta
      parfocal benchmark delta --network delta-2.onnx --network delta-5.onnx --fields 20 --json
    """
    from parfocal.benchmark.delta import as_text, measure_delta, open_candidate
    from parfocal.config import shipped_network

    named = [(str(network), network) for network in networks] or [("shipped", shipped_network())]
    with terminable(), Bars(quiet=as_json) as bars:
        candidates = [open_candidate(name, network) for name, network in named]
        rows = measure_delta(candidates, fields, seed, on_progress=bars.stitched)
    if as_json:
        told = {"seed": seed, "fields": fields, "lens": "40x0.65", "version": __version__}
        click.echo(json.dumps({**told, "rows": [row.to_json() for row in rows]}, indent=2))
    else:
        click.echo(as_text(rows))


@benchmark.command()
@click.option("--quick", is_flag=True, help="One seed, and 3 × 3 mm of each slide.")
@click.option("--policy", "names", multiple=True, help="One policy only; as often as wanted.")
@click.option("--slide", "slide_names", multiple=True, help="One slide only; as often as wanted.")
@click.option("--rendered", is_flag=True, help="Instead: over 200 fields of a slide of each kind, rendered in full.")
@click.option("--plot", type=click.Path(path_type=Path), help="PNG to draw the comparison into.")
@jobs_option
@json_option
def policies(
    quick: bool,
    names: tuple[str, ...],
    slide_names: tuple[str, ...],
    rendered: bool,
    plot: Path | None,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Exposures, focus and time of every field policy on the instrument `paper-40x`.

    Eight slides of 15 × 15 mm, three seeds each; `stack` and `sweep` on a part of them. Fields are not rendered: what
    the control code sees is drawn from an error model, 11,584 rendered pairs and what the network made of them. With
    --rendered a part is scanned both ways, to see whether the two agree.

    \b
    Examples:
      parfocal benchmark policies --quick
      parfocal benchmark policies --quick --policy surface --slide rugged
      parfocal benchmark policies --policy surface --policy paper --plot policies.png
      parfocal benchmark policies --rendered --json
    """
    from parfocal.benchmark.policies import POLICIES, Bench, as_text, measure_policies, rendered_check, summarise
    from parfocal.benchmark.slides import SLIDE_NAMES
    from parfocal.config import open_microscope

    wanted = [name for name in POLICIES if name in names] or list(POLICIES)
    unknown = [name for name in names if name not in POLICIES]
    if unknown:
        raise SettingsError(f"unknown policy {unknown[0]!r}: choose one of {', '.join(POLICIES)}")
    if strange := [name for name in slide_names if name not in SLIDE_NAMES]:
        raise SettingsError(f"unknown slide {strange[0]!r}: choose one of {', '.join(SLIDE_NAMES)}")
    slides = [name for name in SLIDE_NAMES if name in slide_names]
    instrument = open_microscope("paper-40x")
    bench = Bench.of(instrument.microscope, instrument.settings)
    with terminable(), Bars(quiet=as_json) as bars:
        if rendered:
            rows = rendered_check(
                bench,
                instrument.predictor(),
                wanted if names else ("surface",),
                slides or ("tissue", "rugged"),
                on_progress=bars.stitched,
            )
        else:
            rows = measure_policies(bench, quick, jobs, bars.stitched, wanted, slides or SLIDE_NAMES)
    if plot is not None:
        from parfocal.benchmark.policy_plot import draw_policies

        draw_policies(rows, plot)
    if as_json:
        told = {"version": __version__, "microscope": "paper-40x", "rows": [row.to_json() for row in rows]}
        click.echo(json.dumps({**told, "summary": summarise(rows)}, indent=2))
    else:
        click.echo(as_text(rows))


@benchmark.command("export")
@click.option("--quick", is_flag=True, help="Areas of up to 6,000² px instead of 43,000².")
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Where to write; 15 GB of room.  [default: the system's]"
)
@json_option
def export(quick: bool, folder: Path | None, as_json: bool) -> None:
    """Memory and time of an export over generated fields: 15 × 15 mm at 20X, and two smaller areas.

    Peak memory of an export in all formats, by area. For the largest: time of the whole pass beside that of decoding
    the fields and encoding the tiles, with as many threads; of one format with JPEG tiles beside all four; of OME-Zarr.

    \b
    Examples:
      parfocal benchmark export --quick
      parfocal benchmark export --folder /data --json
    """
    import tempfile

    from parfocal.benchmark.exporting import as_text, measure_export

    with terminable(), Bars(quiet=as_json) as bars:
        costs = measure_export(folder or Path(tempfile.gettempdir()), quick=quick, progress=bars.stitched)
    click.echo(json.dumps({**costs.to_json(), "version": __version__}, indent=2) if as_json else as_text(costs))


@benchmark.command("error-model")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="File to write, npz.")
@click.option("--fields", type=click.IntRange(min=1), default=24, show_default=True, help="Of each of six kinds.")
@click.option("--kind", "kinds", multiple=True, help="One kind of field only; as often as wanted.")
@click.option("--seed", type=click.IntRange(min=0), default=100, show_default=True, help="Of everything drawn.")
@network_option
@jobs_option
@json_option
def error_model(
    out: Path, fields: int, kinds: tuple[str, ...], seed: int, network: Path | None, jobs: int | None, as_json: bool
) -> None:
    """Make the error model of `benchmark policies`: rendered fields at many z, what the network says of their pairs.

    Three quarters of an hour of one core as it comes. It belongs to a network: make it again for another one.

    \b
    Examples:
      parfocal benchmark error-model --out error-model.npz
      parfocal benchmark error-model --out mine.npz --network mine.onnx --fields 8
    """
    from parfocal.benchmark.bank import SPECIMENS, render_bank, write_bank
    from parfocal.config import shipped_network

    with terminable(), Bars(quiet=as_json) as bars:

        def on_progress(done: int, count: int) -> None:
            bars.stitched("rendering", done, count)

        bank = render_bank(network or shipped_network(), fields, seed, jobs, on_progress, kinds or tuple(SPECIMENS))
    write_bank(bank, out)
    told = {"file": str(out), "fields": len(bank.kind), "pairs": int(bank.field.size), "seed": seed}
    show({**told, "version": __version__}, as_json)


@benchmark.command()
@json_option
def decision(as_json: bool) -> None:
    """Time of the decision for one field on one thread, with 20, 200 and 2,000 fields known, on `paper-40x`.

    One frame of that instrument takes 33 ms.

    \b
    Examples:
      parfocal benchmark decision
    """
    from dataclasses import asdict, replace

    from parfocal.benchmark.deciding import take_pair, time_decisions
    from parfocal.benchmark.policies import Bench
    from parfocal.config import open_microscope

    instrument = open_microscope("paper-40x", "blood-smear")
    instrument = replace(instrument, settings=replace(instrument.settings, patch_grid=2))
    bench = Bench.of(instrument.microscope, instrument.settings)
    pair = take_pair(instrument.microscope, bench.settings.approach.delta_um)
    times = time_decisions(bench, instrument.predictor(), pair)
    if as_json:
        click.echo(json.dumps({"rows": [{**asdict(row), "total_ms": row.total_ms} for row in times]}, indent=2))
        return
    click.echo("fields known   network   neighbours   surface     total")
    for row in times:
        click.echo(
            f"{row.known:12}  {row.network_ms:5.1f} ms  {row.neighbours_ms:8.1f} ms  {row.surface_ms:5.1f} ms  "
            f"{row.total_ms:5.1f} ms"
        )


@benchmark.command()
@click.argument("path", type=click.Path(path_type=Path))
@json_option
def deviation(path: Path, as_json: bool) -> None:
    """Does the standard deviation of a field hardly change over z, as the paper says (section 2.4.2)?

    For each stack of PATH (see `parfocal evaluate`) whose focus and scale are known: its value in focus, and how far
    apart the largest and the smallest within 10 µm are, as a share of it.

    \b
    Examples:
      parfocal benchmark deviation my-set
    """
    from parfocal.evaluation.claims import deviation_over_focus
    from parfocal.evaluation.sources import read_parts

    stacks = [stack for stacks in read_parts(path).values() for stack in stacks if stack.z_unit == "um"]
    usable = [stack for stack in stacks if stack.best_z is not None]
    if not usable:
        raise SettingsError(f"{path} holds no stack in µm whose best focus is known")
    rows = [
        {"stack": stack.name, "in_focus": over.in_focus, "relative_range": over.relative_range}
        for stack in usable
        for over in [deviation_over_focus(stack)]
    ]
    if as_json:
        click.echo(json.dumps({"rows": rows}, indent=2))
        return
    click.echo(f"{'stack':24} in focus, grey levels   largest − smallest")
    for row in rows:
        click.echo(f"{str(row['stack'])[:24]:24} {row['in_focus']:21.1f} {row['relative_range']:20.1%}")


@benchmark.command()
@click.option("--quick", is_flag=True, help="Small tiles: under two minutes on two cores.")
@click.option("--peers", type=click.Path(path_type=Path), help="Python that has ashlar and multiview-stitcher.")
@click.option("--false-seams", type=click.IntRange(min=1), help="Also register so many seams, and count wrong ones.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of specimens, stage errors and noise.")
@json_option
def stitching(quick: bool, peers: Path | None, false_seams: int | None, seed: int, as_json: bool) -> None:
    """Position errors and time of stitching, on rendered tiles whose every true position is known.

    The tiles: stained tissue, the same without noise, the same nearly blank, and a sparse smear of which 60 % of the
    fields are empty, under a stage that errs as a low-cost one does. Time runs from the fields on disk to a pyramidal
    OME-TIFF. With --peers, ashlar and multiview-stitcher do the same in the same run.

    \b
    Examples:
      parfocal benchmark stitching --quick
      parfocal benchmark stitching --peers peers/bin/python --json
      parfocal benchmark stitching --quick --false-seams 10000
    """
    from dataclasses import asdict, replace

    from parfocal.benchmark.stitching import QUICK, StitchingPlan, measure
    from parfocal.benchmark.wrong_seams import count_wrong_seams

    with terminable(), Bars(quiet=as_json) as bars:
        rows = measure(replace(QUICK if quick else StitchingPlan(), seed=seed), peers, bars.stitched)
        counts = count_wrong_seams(false_seams, seed, bars.stitched) if false_seams else []
    if as_json:
        told = {"rows": [asdict(row) for row in rows], "peers": "not measured" if peers is None else str(peers)}
        click.echo(json.dumps({**told, "false_seams": [asdict(count) for count in counts], "seed": seed}, indent=2))
        return
    click.echo("program             tiles         fields   seconds   rms px   max px   seams   used   wrong   islands")
    for row in rows:
        if row.failure:
            click.echo(f"{row.program:19} {row.tiles:12} {row.fields:7}   failed: {row.failure}")
            continue
        known = ["–" if value is None else str(value) for value in (row.seams, row.accepted, row.wrong, row.islands)]
        click.echo(
            f"{row.program:19} {row.tiles:12} {row.fields:7} {row.seconds:9.2f} {row.rms_error_px:8.3f} "
            f"{row.max_error_px:8.3f} {known[0]:>7} {known[1]:>6} {known[2]:>7} {known[3]:>9}"
        )
    if peers is None:
        click.echo("ashlar and multiview-stitcher were not measured: --peers names a Python that has them")
    for count in counts:
        click.echo(
            f"{count.specimen:13} {count.seams} seams, {count.true_seams} of them true, {count.accepted} used, "
            f"{count.wrong} wrong"
        )


@benchmark.command("serve")
@click.option("--side", "side_mm", type=float, default=15.0, show_default=True, help="Of the made-up slide, in mm.")
@click.option("--readers", type=click.IntRange(min=1), default=50, show_default=True, help="At once.")
@click.option("--seconds", type=float, default=20.0, show_default=True, help="For how long they pan.")
@click.option("--cache", "cache_mb", type=float, default=64.0, show_default=True, help="MB of memory for tiles.")
@click.option("--browser", metavar="CHROMIUM", help="Also measure the first view in it, five times, before they pan.")
@json_option
def serving(side_mm: float, readers: int, seconds: float, cache_mb: float, browser: str | None, as_json: bool) -> None:
    """How quickly does `parfocal serve` answer many readers at once?

    A slide is made up and served on this computer; each reader pans by two columns of tiles every second, at one of
    four magnifications. A tile's time is that of the reader, whose program shares the computer with the server.

    \b
    Examples:
      parfocal benchmark serve
      parfocal benchmark serve --side 3 --readers 10 --seconds 5 --json
      parfocal benchmark serve --browser chromium
    """
    from dataclasses import asdict

    from parfocal.benchmark.serving import measure_serving

    with terminable(), Bars(quiet=as_json) as bars:
        costs = measure_serving(side_mm, readers, seconds, cache_mb, progress=bars.stitched, browser=browser)
    show(asdict(costs), as_json)
