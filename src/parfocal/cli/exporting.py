"""The command around formats: export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from parfocal.cli.terminal import Bars, json_option, show, terminable

# As in slide.export, which is not imported here: it would bring the codecs along.
FORMATS = ("ome-tiff", "tiff")
JPEG_QUALITY = 85


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--format", "kind", type=click.Choice((*FORMATS, "all")), required=True, help="What to write.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="File, or folder for it; a folder for all.")
@click.option("--quality", type=click.IntRange(1, 100), default=JPEG_QUALITY, show_default=True, help="Of the JPEGs.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier export.")
@click.option(
    "--deidentify", is_flag=True, help="Leave out label, times and serial numbers, and say what was left out."
)
@json_option
def export(folder: Path, kind: str, out: Path, quality: int, overwrite: bool, deidentify: bool, as_json: bool) -> None:
    """Write the virtual slide of a fields FOLDER in a format that other programs read.

    ome-tiff is for QuPath and Bio-Formats, tiff for OpenSlide and what builds on it. All formats are made from one
    pass, and appear together under their final names, or not at all.

    \b
    Examples:
      parfocal export my-slide --format tiff --out my-slide.tif
      parfocal export my-slide --format all --out exports
    """
    from parfocal.slide.export import FORMATS as EVERY
    from parfocal.slide.export import export as run

    formats = EVERY if kind == "all" else [one for one in EVERY if one == kind]
    with terminable(), Bars(quiet=as_json) as bars:
        result = run(
            folder,
            out,
            formats,
            quality=quality,
            overwrite=overwrite,
            deidentify=deidentify,
            progress=bars.stitched,
        )
    figures: dict[str, Any] = {
        "name": result.description.name,
        "files": {kind: str(path) for kind, path in result.paths.items()},
        "width_px": result.shapes[0][1],
        "height_px": result.shapes[0][0],
        "levels": len(result.shapes),
        "jpeg_quality": result.quality,
        "stripped": list(result.stripped),
    }
    show(figures, as_json)
