import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from parfocal.errors import FileError
from parfocal.stacks.recorded import RecordedStack, read_stack

RECORDED = Path(__file__).parents[3] / "shared" / "data" / "stacks"


def write_stack(folder, z=(-1.0, 0.0, 1.0), shape=(12, 16, 3), **description):
    planes = []
    for index, value in enumerate(z):
        image = np.zeros(shape, dtype=np.uint8)
        image[..., :] = 50 + index
        cv2.imwrite(str(folder / f"plane{index}.png"), image)
        planes.append({"file": f"plane{index}.png", "z": value})
    write_description(folder, **({"planes": planes, "z_unit": "um", "best_z": 0.0} | description))
    return planes


def write_description(folder, **description):
    (folder / "stack.json").write_text(json.dumps(description), encoding="utf-8")


def test_a_stack_is_read_with_all_that_is_known_about_it(tmp_path):
    write_stack(tmp_path, pixel_size_um=0.3, na=0.75, magnification=20, step_um=1.0)
    stack = read_stack(tmp_path)
    assert stack.z == (-1.0, 0.0, 1.0)
    assert (stack.z_unit, stack.best_z, stack.name) == ("um", 0.0, tmp_path.name)
    assert (stack.pixel_size_um, stack.na, stack.magnification, stack.step_um) == (0.3, 0.75, 20.0, 1.0)
    assert stack.frame_shape == (12, 16)
    assert [int(plane[0, 0, 0]) for plane in stack.planes] == [50, 51, 52]


def test_what_is_not_known_is_none(tmp_path):
    write_stack(tmp_path)
    stack = read_stack(tmp_path)
    assert (stack.pixel_size_um, stack.na, stack.magnification, stack.step_um) == (None, None, None, None)


def test_grey_counts_as_three_equal_channels(tmp_path):
    write_stack(tmp_path, shape=(12, 16))
    plane = read_stack(tmp_path).planes[1]
    assert plane.shape == (12, 16, 3)
    assert np.all(plane == 51)


def test_colours_are_red_green_blue_and_transparency_is_dropped(tmp_path):
    write_stack(tmp_path, z=(0.0,))
    cv2.imwrite(str(tmp_path / "plane0.png"), np.full((4, 4, 4), (10, 20, 30, 255), dtype=np.uint8))
    assert read_stack(tmp_path).planes[0][0, 0].tolist() == [30, 20, 10]


def test_without_a_description_the_error_names_the_file(tmp_path):
    with pytest.raises(FileError, match=r"stack\.json: cannot be read: No such file"):
        read_stack(tmp_path)


def test_a_missing_plane_is_named(tmp_path):
    write_stack(tmp_path)
    (tmp_path / "plane1.png").unlink()
    with pytest.raises(FileError, match=r"plane1\.png: No such file"):
        read_stack(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_an_unreadable_plane_is_named(tmp_path, content):
    write_stack(tmp_path)
    (tmp_path / "plane2.png").write_bytes(content)
    with pytest.raises(FileError, match=r"plane2\.png: is not a readable image"):
        read_stack(tmp_path)


def test_planes_of_16_bits_are_refused(tmp_path):
    write_stack(tmp_path)
    cv2.imwrite(str(tmp_path / "plane0.png"), np.zeros((12, 16), dtype=np.uint16))
    with pytest.raises(FileError, match=r"plane0\.png: has 16 bits per channel, planes need 8"):
        read_stack(tmp_path)


def test_a_plane_of_another_shape_is_named(tmp_path):
    write_stack(tmp_path)
    cv2.imwrite(str(tmp_path / "plane1.png"), np.zeros((10, 16, 3), dtype=np.uint8))
    with pytest.raises(FileError, match=r"plane1\.png: 16 × 10 pixels, plane0\.png has 16 × 12"):
        read_stack(tmp_path)


@pytest.mark.parametrize("z", [(0.0, 1.0, 1.0), (0.0, 2.0, 1.0)])
def test_z_that_does_not_rise_is_refused(tmp_path, z):
    write_stack(tmp_path, z=z)
    with pytest.raises(FileError, match=r"z does not rise, plane2\.png at 1 follows plane1\.png"):
        read_stack(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"z_unit": "mm"}, "z_unit 'mm'"),
        ({"planes": []}, "names no planes"),
        ({"planes": [{"file": "plane0.png"}]}, "plane 0 is not"),
        ({"planes": [{"file": "plane0.png", "z": float("nan")}]}, "is not JSON: NaN is no number"),
        ({"na": "wide"}, "na 'wide' is not a number above 0"),
        ({"pixel_size_um": -1}, "pixel_size_um -1 is not a number above 0"),
        ({"best_z": "sharp"}, "best_z 'sharp' is not a number"),
    ],
)
def test_a_wrong_description_is_refused(tmp_path, change, message):
    write_stack(tmp_path, **change)
    with pytest.raises(FileError, match=message):
        read_stack(tmp_path)


@pytest.mark.parametrize("text", ["{", "[1, 2]"])
def test_a_description_that_is_no_json_object_is_refused(tmp_path, text):
    (tmp_path / "stack.json").write_text(text, encoding="utf-8")
    with pytest.raises(FileError, match=r"stack\.json: is not"):
        read_stack(tmp_path)


def test_a_stack_made_in_memory_is_held_to_the_same_rules():
    plane = np.zeros((4, 4, 3), dtype=np.uint8)
    with pytest.raises(FileError, match="2 planes and 1 positions"):
        RecordedStack("made-up", (plane, plane), (0.0,), "um")
    with pytest.raises(FileError, match="does not rise"):
        RecordedStack("made-up", (plane, plane), (0.0, 0.0), "um")
    with pytest.raises(FileError, match="4 × 5 pixels"):
        RecordedStack("made-up", (plane, np.zeros((5, 4, 3), dtype=np.uint8)), (0.0, 1.0), "um")


@pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded stacks of ../shared/data are not here")
@pytest.mark.parametrize(
    ("name", "planes", "z_unit"), [("organoid-a01", 11, "step"), ("metal-iy000", 11, "um"), ("metal-iy027", 11, "um")]
)
def test_recorded_stacks_are_read(name, planes, z_unit):
    stack = read_stack(RECORDED / name)
    assert len(stack.planes) == planes
    assert stack.z_unit == z_unit
    assert stack.best_z in stack.z


@pytest.mark.parametrize("file", ["../plane0.png", "/etc/hostname", "a\x00b"])
def test_a_plane_outside_the_stacks_folder_is_refused(tmp_path, file):
    folder = tmp_path / "stack"
    folder.mkdir()
    write_stack(folder, planes=[{"file": file, "z": 0.0}])
    with pytest.raises(FileError, match="lies outside the stack's folder"):
        read_stack(folder)
