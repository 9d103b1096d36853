"""The command that takes tiles of other microscopes: import-fields."""

from __future__ import annotations

from pathlib import Path

import click

from parfocal.cli.terminal import Bars, json_option, show, terminable


@click.command("import-fields")
@click.option("--tiles", required=True, metavar="GLOB", help="The image files, such as 'tiles/*.png'.")
@click.option(
    "--positions", required=True, type=click.Path(path_type=Path), help="CSV with the columns file, x_um, y_um."
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the fields; new or empty.")
@click.option("--pixel-size", required=True, type=float, help="Size of a pixel in the specimen, in µm.")
@click.option("--magnification", type=float, default=20.0, show_default=True, help="Of the objective.")
@click.option("--na", type=float, default=0.75, show_default=True, help="Numerical aperture of the objective.")
@click.option("--immersion-index", type=float, default=1.0, show_default=True, help="1.515 is oil.")
@click.option("--microscope", default="unknown", show_default=True, help="Name of the instrument.")
@click.option("--specimen", default="imported tiles", show_default=True, help="What was scanned.")
@click.option("--flip-x", is_flag=True, help="The stage's x grows where the picture's falls.")
@click.option("--flip-y", is_flag=True, help="The stage's y grows where the picture's falls.")
@json_option
def import_fields(
    tiles: str,
    positions: Path,
    out: Path,
    pixel_size: float,
    magnification: float,
    na: float,
    immersion_index: float,
    microscope: str,
    specimen: str,
    flip_x: bool,
    flip_y: bool,
    as_json: bool,
) -> None:
    """Make a fields folder of tiles that another program or microscope took.

    The tiles are RGB with 8 bits a channel and all of one shape (PNG, JPEG, TIFF). The table tells for each where the
    stage stood, in µm; x grows to the right of the picture and y downward, or see --flip-x and --flip-y. The folder can
    then be stitched and exported like a scan.

    \b
    Examples:
      parfocal import-fields --tiles 'tiles/*.png' --positions tiles.csv --pixel-size 0.5 --out my-tiles
    """
    from parfocal.slide.fields.imported import ImportSettings
    from parfocal.slide.fields.imported import import_fields as run

    settings = ImportSettings(
        pixel_size_um=pixel_size,
        magnification=magnification,
        na=na,
        immersion_index=immersion_index,
        microscope=microscope,
        specimen=specimen,
        flip_x=flip_x,
        flip_y=flip_y,
    )
    with terminable(), Bars(quiet=as_json) as bars:
        folder = run(tiles, positions, out, settings, bars.stitched)
    header = folder.header
    figures = {
        "folder": str(out),
        "fields": len(folder.records),
        "rows": header.rows,
        "columns": header.columns,
        "overlap": round(header.overlap, 3),
        "frame_shape": list(header.frame_shape),
    }
    show(figures, as_json)


@click.command("import-images")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--modality", required=True, help="How they were taken, such as manual-100x.")
@click.option("--slide", "slide_id", required=True, metavar="ID", help="What the laboratory calls the slide.")
@click.option("--pixel-size-um", required=True, type=float, help="Size of a pixel in the specimen, in µm.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for them; new or empty.  [default: ID-MODALITY]")
@click.option("--magnification", type=float, default=100.0, show_default=True, help="Of the objective.")
@click.option("--na", type=float, default=1.25, show_default=True, help="Numerical aperture of the objective.")
@click.option("--immersion-index", type=float, default=1.515, show_default=True, help="1.0 is dry.")
@click.option("--specimen", default="photographs", show_default=True, help="What is on the slide.")
@json_option
def import_images(
    files: tuple[Path, ...],
    modality: str,
    slide_id: str,
    pixel_size_um: float,
    out: Path | None,
    magnification: float,
    na: float,
    immersion_index: float,
    specimen: str,
    as_json: bool,
) -> None:
    """Make a slide of loose fields of photographs that were taken by hand, for a study of readers.

    FILES are RGB with 8 bits a channel and all of one shape (PNG, JPEG, TIFF). Where on the slide they were taken is
    not known, so they are not stitched.

    \b
    Examples:
      parfocal import-images --modality manual-100x --slide S01 --pixel-size-um 0.0345 photos/*.jpg
      parfocal import-images --modality manual-40x --slide S01 --pixel-size-um 0.086 --magnification 40 --na 0.65 \\
          --immersion-index 1 --out s01-by-hand photos/*.jpg
    """
    from parfocal.slide.fields.photographs import PhotographSettings, import_photographs

    settings = PhotographSettings(modality, slide_id, pixel_size_um, magnification, na, immersion_index, specimen)
    where = out or Path(f"{slide_id}-{modality}".replace("/", "-"))
    with terminable(), Bars(quiet=as_json) as bars:
        folder = import_photographs(files, where, settings, bars.stitched)
    figures = {
        "folder": str(where),
        "fields": len(folder.records),
        "modality": modality,
        "frame_shape": list(folder.header.frame_shape),
    }
    show(figures, as_json)
