"""Any real image as a specimen: its optical density, laid over the slide and mirrored at its edges."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import openslide
from numpy.typing import NDArray

from parfocal.errors import FileError, SettingsError
from parfocal.optics.specimen import LayerCanvas, Layers, Topography
from parfocal.optics.texture import Plane, Window

MAX_PIXELS = 100_000_000
_IDENTITY = np.eye(3, dtype=np.float32)
_WHITE_PERCENTILE = 99.0
_MPP_RANGE_UM = (0.01, 100.0)


@dataclass(frozen=True)
class Photograph:
    """A real image turned into optical density.

    Attributes:
        density: (Y, X, 3) float32 decadic optical density of red, green and blue.
        pixel_um: size of its pixel on the slide in µm.
        topography: of the slide that it lies on.
        thickness_um: range of depths: half of the density lies at each of its ends.
        phase_per_density: radians at 0.55 µm for each unit of mean density: denser parts have the higher index.
    """

    density: NDArray[np.float32]
    pixel_um: float
    topography: Topography = field(default_factory=Topography)
    thickness_um: float = 0.8
    phase_per_density: float = 0.4

    def layers(self, window: Window, pitch_um: float) -> Layers:
        """The image inside the window, in layers at multiples of `pitch_um`; its centre lies at the slide's origin."""
        rows, columns = self.density.shape[:2]
        map_x = (window.x_um / self.pixel_um + columns / 2 - 0.5).astype(np.float32)
        map_y = (window.y_um / self.pixel_um + rows / 2 - 0.5).astype(np.float32)
        grid_x, grid_y = np.meshgrid(_mirrored(map_x, columns), _mirrored(map_y, rows))
        density = cv2.remap(self.density, grid_x, grid_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
        density = np.maximum(density, 0)
        canvas = LayerCanvas(window, pitch_um, _IDENTITY)
        surface = self.topography.over(window)
        for offset in (-0.5, 0.5):
            stains: dict[int, Plane] = {channel: 0.5 * density[..., channel] for channel in range(3)}
            phase = (0.5 * self.phase_per_density * density.mean(axis=2)).astype(np.float32)
            canvas.add_sheet(surface + np.float32(offset * self.thickness_um), stains, phase)
        return canvas.layers()


def read_photograph(path: Path, default_pixel_um: float, topography: Topography) -> Photograph:
    """A specimen from an image file: anything OpenSlide reads, at its own scale, or a plain image.

    Args:
        path: the file.
        default_pixel_um: size of a pixel on the slide in µm, for files that do not say.
        topography: of the slide.

    Raises:
        FileError: if the file is missing, or neither OpenSlide nor OpenCV can read it.
        SettingsError: if the image has more than 100 million pixels, or a pixel size that cannot be.
    """
    if not path.is_file():
        raise FileError(f"specimen image {path} is missing")
    if openslide.OpenSlide.detect_format(path):
        image, pixel_um = _read_slide(path, default_pixel_um)
    else:
        image, pixel_um = _read_plain(path), default_pixel_um
    if not _MPP_RANGE_UM[0] <= pixel_um <= _MPP_RANGE_UM[1]:
        raise SettingsError(f"specimen image {path} claims {pixel_um:g} µm per pixel, not 0.01 to 100 µm")
    white = np.maximum(np.percentile(image.reshape(-1, 3)[::7], _WHITE_PERCENTILE, axis=0), 1.0)
    transmission = (image.astype(np.float32) + 0.5) / (white.astype(np.float32) + 0.5)
    return Photograph(np.maximum(-np.log10(transmission), 0.0).astype(np.float32), pixel_um, topography)


def _read_slide(path: Path, default_pixel_um: float) -> tuple[NDArray[np.uint8], float]:
    try:
        with openslide.OpenSlide(path) as slide:
            columns, rows = slide.dimensions
            _check_size(path, rows, columns)
            image = np.asarray(slide.read_region((0, 0), 0, (columns, rows)).convert("RGB"))
            pixel_um = float(slide.properties.get(openslide.PROPERTY_NAME_MPP_X, default_pixel_um))
    except openslide.OpenSlideError as error:
        raise FileError(f"specimen image {path} cannot be read: {error}") from error
    except ValueError as error:
        raise FileError(f"specimen image {path} has an unreadable pixel size: {error}") from error
    return image, pixel_um


def _read_plain(path: Path) -> NDArray[np.uint8]:
    try:
        content = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise FileError(f"specimen image {path} cannot be read: {error.strerror}") from error
    try:
        image = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    except cv2.error as error:
        raise FileError(f"specimen image {path} cannot be decoded: {error.err}") from error
    if image is None:
        raise FileError(f"specimen image {path} is not an image that can be read")
    _check_size(path, *image.shape[:2])
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _check_size(path: Path, rows: int, columns: int) -> None:
    if rows * columns > MAX_PIXELS:
        millions, limit = rows * columns / 1e6, MAX_PIXELS / 1e6
        raise SettingsError(f"specimen image {path} has {millions:.0f} million pixels, more than {limit:.0f} million")


def _mirrored(position: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """Pixel positions folded back and forth into 0 … length − 1."""
    period = 2 * (length - 1)
    folded = np.mod(position, period)
    return np.asarray(np.minimum(folded, period - folded), dtype=np.float32)
