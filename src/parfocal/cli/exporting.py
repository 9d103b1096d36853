"""The command around formats: export."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from parfocal.cli.terminal import Bars, json_option, show, terminable

# As in slide.destinations and slide.pyramid, which are not imported here: they would bring the codecs along.
FORMATS = ("ome-tiff", "tiff", "dicom", "ome-zarr", "dzi")
JPEG_QUALITY = 85


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--format", "kind", type=click.Choice((*FORMATS, "all")), required=True, help="What to write.")
@click.option("--out", required=True, help="File, or folder; for ome-zarr also a URL such as s3://bucket/slide.zarr.")
@click.option("--quality", type=click.IntRange(1, 100), default=JPEG_QUALITY, show_default=True, help="Of the JPEGs.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier export.")
@click.option("--identified", is_flag=True, help="Name the slide by its id, instead of a pseudonym.")
@click.option("--deidentify", is_flag=True, help="Leave out label, times and serial numbers; say what was left out.")
@json_option
def export(
    folder: Path,
    kind: str,
    out: str,
    quality: int,
    overwrite: bool,
    identified: bool,
    deidentify: bool,
    as_json: bool,
) -> None:
    """Write the virtual slide of a fields FOLDER in a format that other programs read.

    ome-tiff is for QuPath and Bio-Formats, tiff for OpenSlide and what builds on it, dicom for archives, ome-zarr for
    analysis and clouds, dzi for web pages. All formats are made from one pass, and appear together under their final
    names, or not at all.

    \b
    Examples:
      parfocal export my-slide --format tiff --out my-slide.tif
      parfocal export my-slide --format all --out exports
      parfocal export my-slide --format ome-zarr --out s3://my-bucket/my-slide.zarr
    """
    from parfocal.scan.report import peak_memory_mib
    from parfocal.slide.destinations import FORMATS as EVERY
    from parfocal.slide.export import export as run

    began_s = time.monotonic()
    formats = EVERY if kind == "all" else [one for one in EVERY if one == kind]
    with terminable(), Bars(quiet=as_json) as bars:
        result = run(
            folder,
            out,
            formats,
            quality=quality,
            overwrite=overwrite,
            identified=identified,
            deidentify=deidentify,
            progress=bars.stitched,
        )
    figures: dict[str, Any] = {
        "name": result.description.name,
        "files": result.destinations.as_text(),
        "width_px": result.shapes[0][1],
        "height_px": result.shapes[0][0],
        "levels": len(result.shapes),
        "jpeg_quality": result.quality,
        "stripped": list(result.stripped),
        "peak_memory_mib": round(peak_memory_mib(), 1),
        "wall_time_s": round(time.monotonic() - began_s, 3),
    }
    show(figures, as_json)
