"""A folder of pictures or a video takes the place of a camera: each exposure is the next picture."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from contract import CameraContract

from parfocal.devices.driver import Asked
from parfocal.devices.picture_files import DRIVER, FilesSettings
from parfocal.devices.wall_clock import WallClock
from parfocal.errors import InstrumentError, SettingsError

SHAPE = (48, 64)


def camera_of(folder, path, **settings):
    asked = Asked(frozenset({"camera"}), SHAPE, 0.5, WallClock(), folder)
    return DRIVER.open(FilesSettings(path=Path(path), **settings), asked).camera


def write(file, level, shape=SHAPE):
    picture = np.full((*shape, 3), level, dtype=np.uint8)
    picture[..., 0] = 5  # blue comes first in OpenCV
    cv2.imwrite(str(file), picture)


@pytest.fixture
def pictures(tmp_path):
    (tmp_path / "pictures").mkdir()
    for index, level in enumerate((100, 102, 104)):
        write(tmp_path / "pictures" / f"{index}.png", level)
    (tmp_path / "pictures" / "notes.txt").write_text("no picture")
    return tmp_path


class TestFolder(CameraContract):
    @pytest.fixture
    def camera(self, pictures):
        return camera_of(pictures, "pictures")


class TestVideo(CameraContract):
    @pytest.fixture
    def camera(self, tmp_path):
        clip = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (SHAPE[1], SHAPE[0]))
        for level in (100, 101, 102):
            clip.write(np.full((*SHAPE, 3), level, dtype=np.uint8))
        clip.release()
        return camera_of(tmp_path, "clip.avi")

    def test_after_the_last_frame_comes_the_first(self, camera):
        levels = [round(camera.snap().mean()) for _ in range(4)]
        assert levels[3] == levels[0] < levels[2]


def test_pictures_come_by_name_in_our_order_of_colours(pictures):
    camera = camera_of(pictures, "pictures")
    assert [camera.snap()[0, 0].tolist() for _ in range(4)] == [[n, n, 5] for n in (100, 102, 104, 100)]


def test_the_last_picture_may_be_the_last(pictures):
    camera = camera_of(pictures, "pictures", again=False)
    for _ in range(3):
        camera.snap()
    with pytest.raises(InstrumentError, match="pictures has no picture left"):
        camera.snap()


def test_what_cannot_be_shown_is_told_of(pictures):
    with pytest.raises(SettingsError, match="neither a folder of pictures nor a video"):
        camera_of(pictures, "nowhere")
    with pytest.raises(InstrumentError, match="holds no picture that can be read"):
        camera_of(pictures, "pictures/notes.txt")
    write(pictures / "pictures" / "3.png", 90, shape=(10, 10))
    camera = camera_of(pictures, "pictures")
    with pytest.raises(InstrumentError, match=r"a picture of \(10, 10\) px, the first one had \(48, 64\)"):
        [camera.snap() for _ in range(4)]
    (pictures / "pictures" / "0.png").write_text("torn")
    with pytest.raises(InstrumentError, match=r"0\.png cannot be read as a picture"):
        camera_of(pictures, "pictures")
