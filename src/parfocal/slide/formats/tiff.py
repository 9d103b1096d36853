"""Flat pyramidal TIFF: BigTIFF, JPEG tiles, every level a page of its own, which is what OpenSlide opens."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import tifffile

from parfocal.durable import written_aside
from parfocal.slide.fields.records import Verdict
from parfocal.slide.formats.description import SlideDescription
from parfocal.slide.pyramid import SUBSAMPLING, TILE_PX, Pyramid
from parfocal.slide.quality.table import FieldQuality


def write_tiff(path: Path, pyramid: Pyramid, description: SlideDescription) -> None:
    """Write a virtual slide; under its final name there is never half a file.

    Args:
        path: of the file, `*.tif`.
        pyramid: all tiles, built.
        description: for the resolution tags, the ICC profile, and a summary as JSON in the image description.

    Raises:
        FileError: if the file cannot be written.
    """
    when = description.scanned_at
    with written_aside(path) as part, tifffile.TiffWriter(part, bigtiff=True, ome=False) as tiff:
        for level in range(len(pyramid.shapes)):
            first = level == 0
            tiff.write(
                pyramid.tiles(level),
                **level_settings(pyramid, level, description),
                description=json.dumps(summary(description, pyramid), ensure_ascii=True) if first else None,
                software=description.creator if first else None,
                datetime=when if first and when else None,
            )


def level_settings(pyramid: Pyramid, level: int, description: SlideDescription) -> dict[str, Any]:
    """What `tifffile.TiffWriter.write` is told about a level, in any TIFF."""
    per_cm = 1e4 / (description.pixel_size_um * 2**level)
    return {
        "shape": (*pyramid.shapes[level], 3),
        "dtype": "uint8",
        "tile": (TILE_PX, TILE_PX),
        "compression": "jpeg",
        "photometric": "ycbcr",
        "subsampling": SUBSAMPLING,
        "resolution": (per_cm, per_cm),
        "resolutionunit": "CENTIMETER",
        "subfiletype": 1 if level else 0,
        "iccprofile": description.icc_profile or None,
        "metadata": None,
    }


def summary(description: SlideDescription, pyramid: Pyramid) -> dict[str, Any]:
    """The description without the table of fields, as JSON values."""
    values: dict[str, Any] = {
        "format": "parfocal-slide-1",
        "name": description.name,
        "instrument": description.instrument,
        "serial_number": description.serial_number or None,
        "scanned_at": description.scanned_at.isoformat() if description.scanned_at else None,
        "pixel_size_um": description.pixel_size_um,
        "magnification": description.magnification,
        "na": description.na,
        "immersion_index": description.immersion_index,
        "jpeg_quality": pyramid.quality,
    }
    values |= quality_summary(description.fields)
    return {name: value for name, value in values.items() if value is not None}


def quality_summary(fields: tuple[FieldQuality, ...]) -> dict[str, Any]:
    """The quality table in a few names and values; empty without fields."""
    if not fields:
        return {}
    verdicts = Counter(field.verdict for field in fields)
    residuals = [field.seam_residual_um for field in fields if field.seam_residual_um is not None]
    return {
        "fields": len(fields),
        **{f"fields_{verdict}": verdicts[verdict] for verdict in get_args(Verdict)},
        "islands": max(field.island for field in fields) + 1,
        **({"seam_residual_max_um": max(residuals)} if residuals else {}),
    }
