"""The whole slide in one small picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from parfocal.durable import written_aside
from parfocal.slide.fields.records import Frame
from parfocal.slide.reader import Slide

OVERVIEW_PX = 2048


def overview(slide: Slide, longest_px: int = OVERVIEW_PX) -> Frame:
    """The slide at most `longest_px` px on its longer side, uint8 (Y, X, 3) RGB.

    Raises:
        FileError: if the slide is damaged.
    """
    width, height = slide.dimensions
    scale = min(1.0, longest_px / max(width, height))
    level = slide.best_level_for_downsample(1 / scale)
    image = slide.read_region((0, 0), level, slide.level_dimensions[level])
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def write_overview(slide: Slide, path: Path, longest_px: int = OVERVIEW_PX) -> None:
    """Write the overview as JPEG, quality 90.

    Raises:
        FileError: if the slide is damaged, or the file cannot be written.
    """
    image = overview(slide, longest_px)
    _, encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    with written_aside(path) as part:
        part.write_bytes(encoded.tobytes())
