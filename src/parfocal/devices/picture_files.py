"""A folder of pictures, or a video, as a camera: each exposure is the next picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path

import cv2
import numpy as np

from parfocal.devices.base import Frame
from parfocal.devices.driver import Asked, Devices, Driver, DriverSettings
from parfocal.errors import InstrumentError, SettingsError

_PICTURES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"}


class FilesSettings(DriverSettings):
    """Where the pictures are.

    Attributes:
        path: a folder of pictures, taken in the order of their names, or a video file.
        again: whether it begins anew after the last picture.
    """

    path: Path
    again: bool = True


class PictureCamera:
    """A camera that shows pictures one after the other. It knows nothing of stages.

    Args:
        pictures: gives all of them, uint8 (Y, X, 3) RGB, each time that it is called.
        who: where they come from, for messages.
        pixel_size_um: size of a pixel in the specimen plane, in µm.
        again: whether it begins anew after the last one.

    Raises:
        InstrumentError: if there is none.
    """

    def __init__(self, pictures: Callable[[], Iterator[Frame]], who: Path, pixel_size_um: float, again: bool) -> None:
        self._who = who
        self._pixel_size_um = pixel_size_um
        self._frame_shape = self._first(pictures)
        rounds = repeat(pictures) if again else iter([pictures])
        self._coming = chain.from_iterable(gives() for gives in rounds)

    @property
    def frame_shape(self) -> tuple[int, int]:
        """(Y, X) of the first picture in pixels."""
        return self._frame_shape

    @property
    def pixel_size_um(self) -> float:
        """Size of a picture's pixel in the specimen plane, in µm."""
        return self._pixel_size_um

    def snap(self) -> Frame:
        """The next picture, uint8 (Y, X, 3). Raises InstrumentError if there is none, or it has another size."""
        picture = next(self._coming, None)
        if picture is None:
            raise InstrumentError(f"{self._who} has no picture left")
        if picture.shape[:2] != self._frame_shape:
            raise InstrumentError(
                f"{self._who}: a picture of {picture.shape[:2]} px, the first one had {self._frame_shape}"
            )
        return picture

    def _first(self, pictures: Callable[[], Iterator[Frame]]) -> tuple[int, int]:
        first = next(pictures(), None)
        if first is None:
            raise InstrumentError(f"{self._who} holds no picture that can be read")
        return first.shape[0], first.shape[1]


def in_folder(folder: Path) -> Iterator[Frame]:
    """The pictures of a folder by name. Raises InstrumentError if one cannot be read."""
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in _PICTURES:
            picture = cv2.imread(str(file), cv2.IMREAD_COLOR)
            if picture is None:
                raise InstrumentError(f"{file} cannot be read as a picture")
            yield np.ascontiguousarray(picture[..., ::-1], dtype=np.uint8)


def in_video(file: Path) -> Iterator[Frame]:
    """The frames of a video, in order."""
    capture = cv2.VideoCapture(str(file))
    try:
        there, frame = capture.read()
        while there:
            yield np.ascontiguousarray(frame[..., ::-1], dtype=np.uint8)
            there, frame = capture.read()
    finally:
        capture.release()


def _open(settings: FilesSettings, asked: Asked) -> Devices:
    path = asked.folder / settings.path
    if not path.exists():
        raise SettingsError(f"{path} is neither a folder of pictures nor a video")
    read = in_folder if path.is_dir() else in_video
    return Devices(camera=PictureCamera(lambda: read(path), path, asked.pixel_size_um, settings.again))


DRIVER = Driver(
    name="files",
    summary="a folder of pictures, or a video, as a camera",
    roles=frozenset({"camera"}),
    settings=FilesSettings,
    open=_open,
)
