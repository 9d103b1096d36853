"""Tiles of other microscopes become a fields folder that stitches, or are refused with their reason."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from parfocal.errors import FileError, SettingsError
from parfocal.slide.fields.imported import ImportSettings, import_fields
from parfocal.slide.stitch import stitch

PIXEL_UM = 0.345


@pytest.fixture(scope="module")
def scan(synthetic_scan):
    return synthetic_scan(3, 3, seed=21)


def lay_out(folder: Path, scan, suffix=".png", sign=(1, 1)) -> Path:
    """The scan's frames as another program would leave them, and the table of their positions."""
    folder.mkdir(parents=True)
    lines = ["file,x_um,y_um"]
    for record in scan.folder.records:
        name = f"tile {record.index} µ{suffix}"
        _, encoded = cv2.imencode(suffix, scan.folder.frame(record)[..., ::-1])
        (folder / name).write_bytes(encoded.tobytes())
        lines.append(f"{name},{sign[0] * record.stage_x_um},{sign[1] * record.stage_y_um}")
    table = folder / "positions.csv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return table


def take(folder, out, table=None, pattern="*.png", **settings):
    return import_fields(
        str(folder / pattern), table or folder / "positions.csv", out, ImportSettings(PIXEL_UM, **settings)
    )


def error_px(folder, scan):
    """Largest distance to the truth after stitching, less one translation."""
    stitch(folder.path)
    from parfocal.slide.light.flatfield import estimate_flatfield
    from parfocal.slide.registration.kept import registered

    found = registered(folder, estimate_flatfield(folder)).mosaic_xy_px - scan.true_xy_um / PIXEL_UM
    return np.hypot(*(found - found.mean(axis=0)).T).max()


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_imported_tiles_stitch_as_the_scan_does(scan, tmp_path, suffix):
    lay_out(tmp_path / "their tiles", scan, suffix)
    folder = take(tmp_path / "their tiles", tmp_path / "out 🔬", pattern=f"*{suffix}")
    assert (folder.header.rows, folder.header.columns) == (3, 3)
    assert folder.header.overlap == pytest.approx(0.2, abs=0.01)
    assert [(r.row, r.column) for r in folder.records] == [(r.row, r.column) for r in scan.folder.records]
    assert error_px(folder, scan) < 0.3


def test_pixels_are_kept(scan, tmp_path):
    lay_out(tmp_path / "tiles", scan)
    folder = take(tmp_path / "tiles", tmp_path / "out")
    for mine, theirs in zip(folder.records, scan.folder.records, strict=True):
        assert np.array_equal(folder.frame(mine), scan.folder.frame(theirs))


def test_axes_of_the_other_microscope_may_run_the_other_way(scan, tmp_path):
    lay_out(tmp_path / "tiles", scan, sign=(-1, -1))
    folder = take(tmp_path / "tiles", tmp_path / "out", flip_x=True, flip_y=True)
    assert error_px(folder, scan) < 0.3


def test_axes_that_run_the_other_way_unsaid_join_nothing(scan, tmp_path):
    lay_out(tmp_path / "tiles", scan, sign=(-1, -1))
    assert stitch(take(tmp_path / "tiles", tmp_path / "out").path).accepted == 0


def change(table, old, new):
    text = table.read_text(encoding="utf-8")
    assert old in text
    table.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("tile 4 µ.png", "tile 44 µ.png", r"line 6: tile 44 µ\.png is none of the 9 tiles"),
        ("tile 4 µ.png", "tile 3 µ.png", r"line 6: tile 3 µ\.png occurs twice"),
        ("tile 4 µ.png", "", "line 6: a row without a file"),
        ("x_um", "x", "has no column x_um"),
        ("file,x_um,y_um\n", "", "has no column file"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(scan, tmp_path, old, new, message):
    change(lay_out(tmp_path / "tiles", scan), old, new)
    with pytest.raises(FileError, match=message):
        take(tmp_path / "tiles", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", ["east", "", "nan", "inf", "1,5"])
def test_a_position_that_is_no_number_is_refused(scan, tmp_path, value):
    table = lay_out(tmp_path / "tiles", scan)
    lines = table.read_text(encoding="utf-8").splitlines()
    lines[4] = f'tile 3 µ.png,"{value}",0'
    table.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(FileError, match=r"line 5: x_um .* is not a number in µm"):
        take(tmp_path / "tiles", tmp_path / "out")


def test_a_tile_without_a_position_is_named(scan, tmp_path):
    table = lay_out(tmp_path / "tiles", scan)
    table.write_text("\n".join(table.read_text(encoding="utf-8").splitlines()[:-1]), encoding="utf-8")
    with pytest.raises(FileError, match=r"no position for 1 of 9 tiles, the first is tile 8 µ\.png"):
        take(tmp_path / "tiles", tmp_path / "out")


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((256, 300, 3), np.uint8), r"\(256, 300\) px, but tile 0 µ\.png is \(256, 320\) px"),
        (np.zeros((256, 320), np.uint8), "1 channels of uint8, RGB with 8 bits is needed"),
        (np.zeros((256, 320, 4), np.uint8), "4 channels of uint8"),
        (np.zeros((256, 320, 3), np.uint16), "3 channels of uint16"),
    ],
)
def test_a_tile_that_does_not_fit_is_refused_and_nothing_is_left(scan, tmp_path, image, message):
    lay_out(tmp_path / "tiles", scan)
    (tmp_path / "tiles" / "tile 5 µ.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    with pytest.raises(FileError, match=message):
        take(tmp_path / "tiles", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["tiles"]


@pytest.mark.parametrize("text", [b"", b"no image"])
def test_a_tile_that_is_no_image_is_refused(scan, tmp_path, text):
    lay_out(tmp_path / "tiles", scan)
    (tmp_path / "tiles" / "tile 5 µ.png").write_bytes(text)
    with pytest.raises(FileError, match=r"tile 5 µ\.png: not an image"):
        take(tmp_path / "tiles", tmp_path / "out")


def test_no_tiles_and_no_table_are_named(scan, tmp_path):
    lay_out(tmp_path / "tiles", scan)
    with pytest.raises(FileError, match="matches no file"):
        take(tmp_path / "tiles", tmp_path / "out", pattern="*.bmp")
    with pytest.raises(FileError, match=r"gone\.csv: cannot read"):
        take(tmp_path / "tiles", tmp_path / "out", table=tmp_path / "gone.csv")
    with pytest.raises(FileError, match="not a CSV in UTF-8"):
        take(tmp_path / "tiles", tmp_path / "out", table=next((tmp_path / "tiles").glob("*.png")))


def test_the_same_name_in_two_folders_is_refused(scan, tmp_path):
    lay_out(tmp_path / "tiles" / "a", scan)
    lay_out(tmp_path / "tiles" / "b", scan)
    with pytest.raises(FileError, match="in more than one folder"):
        take(tmp_path / "tiles", tmp_path / "out", table=tmp_path / "tiles" / "a" / "positions.csv", pattern="*/*.png")


def test_a_folder_with_something_in_it_is_left_alone(scan, tmp_path):
    lay_out(tmp_path / "tiles", scan)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("kept")
    with pytest.raises(FileError, match="not empty"):
        take(tmp_path / "tiles", tmp_path / "out")
    assert (tmp_path / "out" / "mine.txt").read_text() == "kept"


@pytest.mark.parametrize("settings", [{"magnification": 0}, {"na": -1}, {"immersion_index": float("nan")}, {"na": 1.2}])
def test_impossible_optics_are_refused(scan, tmp_path, settings):
    lay_out(tmp_path / "tiles", scan)
    with pytest.raises((SettingsError, FileError)):
        take(tmp_path / "tiles", tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()
