"""A photograph of a slide's label: pixels only, whatever else its file carries."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from parfocal.durable import cannot, written_aside
from parfocal.errors import FileError
from parfocal.slide.fields.records import Frame

_LABEL_PX = 2048


def read_label(path: Path) -> Frame:
    """A photograph of a label, made smaller where its longer side is above 2048 px.

    Only the pixels are taken: place, time and camera that a photograph may carry are left behind.

    Args:
        path: PNG, JPEG or another picture.

    Returns:
        uint8 (Y, X, 3), RGB, the right way up.

    Raises:
        FileError: if it cannot be read, or is no picture.
    """
    try:
        encoded = path.read_bytes()
    except OSError as error:
        raise cannot("read", path, error) from error
    image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB) if encoded else None
    if image is None:
        raise FileError(f"{path}: not an image that can be read")
    scale = _LABEL_PX / max(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(image, np.uint8)


def write_label(path: Path, label: Frame) -> None:
    """Write a label, uint8 (Y, X, 3) RGB, as PNG. Raises FileError if that fails."""
    _, encoded = cv2.imencode(".png", label[..., ::-1])
    with written_aside(path) as part:
        part.write_bytes(encoded.tobytes())
