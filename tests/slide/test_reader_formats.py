"""One contract for slides of every format: OpenSlide's vocabulary, the same pixels in the same places."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import fsspec
import numpy as np
import openslide
import pytest
import zarr
from openslide.deepzoom import DeepZoomGenerator
from PIL import Image

from parfocal.errors import FileError, SettingsError
from parfocal.slide.deepzoom import DeepZoom
from parfocal.slide.formats.colour import srgb_profile
from parfocal.slide.formats.description import SlideDescription
from parfocal.slide.formats.dicom import write_dicom
from parfocal.slide.formats.dzi import write_dzi
from parfocal.slide.formats.ome_tiff import write_ome_tiff
from parfocal.slide.formats.ome_zarr import ome_zarr_aside
from parfocal.slide.formats.tiff import write_tiff
from parfocal.slide.pyramid import Pyramid, level_shapes
from parfocal.slide.reader import Slide

REAL = Path(__file__).parents[3] / "shared/data/textures/cmu_small_region.svs"
SHAPE = (1100, 1500)
SIZES = ((1500, 1100), (750, 550), (375, 275))
DESCRIPTION = SlideDescription(
    "slide 1", "simulated-20x", 0.345, 20, 0.75, 1.0, "Parfocal 0.1.0", icc_profile=srgb_profile()
)


def draw() -> np.ndarray:
    """Smooth bands, and a dark square at a place of its own."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)
    image = np.stack([60 + x / 10, 60 + y / 10, 127 + 60 * np.sin(x / 30)], axis=-1).astype(np.uint8)
    image[612:652, 1080:1120] = (40, 20, 60)
    return image


@pytest.fixture(scope="module")
def picture():
    return draw()


def means(picture: np.ndarray, level: int) -> np.ndarray:
    """Pixels of a level, as float."""
    step = 2**level
    return picture.astype(float).reshape(SHAPE[0] // step, step, SHAPE[1] // step, step, 3).mean(axis=(1, 3))


@pytest.fixture(scope="module")
def pyramid(tmp_path_factory, picture):
    with Pyramid(level_shapes(SHAPE), tmp_path_factory.mktemp("spool"), quality=95) as opened:
        opened.build(lambda x, y, width, height: picture[y : y + height, x : x + width])
        yield opened


def by_parfocal(write, name):
    def make(folder, pyramid, picture):
        write(folder / name, pyramid, DESCRIPTION)
        return folder / name

    return make


def ome_zarr(folder, pyramid, picture):
    """Its pixels are taken on their way into the tiles, so it gets a pass of its own."""
    with (
        Pyramid(level_shapes(SHAPE), folder) as passing,
        ome_zarr_aside(folder / "slide 1 🔬.zarr", passing, DESCRIPTION) as consumer,
    ):
        passing.build(lambda x, y, width, height: picture[y : y + height, x : x + width], consumer=consumer)
    return folder / "slide 1 🔬.zarr"


def fields_folder(folder, pyramid, picture):
    (folder / "scan.json").write_text("{}")
    write_ome_tiff(folder / "slide.ome.tif", pyramid, DESCRIPTION)
    return folder


def dzi_by_openslide(folder, pyramid, picture):
    """As openslide-python's example writes it: tiles of 254 px that overlap by one, PNG, no scale."""
    made = DeepZoomGenerator(openslide.ImageSlide(Image.fromarray(picture)), tile_size=254, overlap=1)
    (folder / "other.dzi").write_text(made.get_dzi("png"))
    for level, (columns, rows) in enumerate(made.level_tiles):
        place = folder / "other_files" / str(level)
        place.mkdir(parents=True)
        for column in range(columns):
            for row in range(rows):
                made.get_tile(level, (column, row)).save(place / f"{column}_{row}.png")
    return folder / "other.dzi"


def ome_zarr_by_zarr(folder, pyramid, picture):
    """Version 0.4, with the five axes of a bioimage, sizes in nm."""
    group = zarr.create_group(folder / "other.zarr", zarr_format=2)
    datasets = []
    for level in range(3):
        pixels = np.round(means(picture, level)).astype(np.uint8).transpose(2, 0, 1)[None, :, None]
        array = group.create_array(str(level), shape=pixels.shape, chunks=(1, 1, 1, 300, 200), dtype="uint8")
        array[:] = pixels
        scale = {"type": "scale", "scale": [1, 1, 1, 345.0 * 2**level, 345.0 * 2**level]}
        datasets.append({"path": str(level), "coordinateTransformations": [scale]})
    axes = [{"name": "t"}, {"name": "c"}, *({"name": name, "unit": "nanometer"} for name in "zyx")]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    return folder / "other.zarr"


OWN = {
    "ome-tiff": by_parfocal(write_ome_tiff, "slide 1 🔬.ome.tif"),
    "tiff": by_parfocal(write_tiff, "slide 1 🔬.tif"),
    "dicom": by_parfocal(write_dicom, "slide 1 🔬"),
    "dzi": by_parfocal(write_dzi, "slide 1 🔬.dzi"),
    "ome-zarr": ome_zarr,
    "fields": fields_folder,
}
OTHERS = {"dzi of another writer": dzi_by_openslide, "ome-zarr of another writer": ome_zarr_by_zarr}


@pytest.fixture(scope="module", params=[*OWN, *OTHERS])
def path(request, tmp_path_factory, pyramid, picture):
    """A slide of each format, not to be changed."""
    return {**OWN, **OTHERS}[request.param](tmp_path_factory.mktemp("slide"), pyramid, picture)


@pytest.fixture(scope="module", params=OWN)
def own_path(request, tmp_path_factory, pyramid, picture):
    """A slide of each format that we write."""
    return OWN[request.param](tmp_path_factory.mktemp("own"), pyramid, picture)


@pytest.fixture
def slide(path):
    with Slide.open(path) as opened:
        yield opened


def close_to(shown, expected) -> bool:
    return bool(np.abs(np.asarray(shown, float) - expected).mean() < 3)


class TestEveryFormat:
    def test_levels_are_openslides(self, slide):
        assert slide.level_dimensions[:3] == SIZES
        assert slide.level_count == len(slide.level_dimensions) == len(slide.level_downsamples)
        assert slide.dimensions == SIZES[0]
        assert slide.level_downsamples[:3] == (1.0, 2.0, 4.0)
        assert slide.best_level_for_downsample(3.9) == 1

    @pytest.mark.parametrize("level", [0, 1, 2])
    def test_every_level_is_the_picture(self, slide, picture, level):
        shown = slide.read_region((0, 0), level, SIZES[level])
        assert shown.dtype == np.uint8
        assert shown.shape == (*SIZES[level][::-1], 3)
        assert close_to(shown, means(picture, level))

    @pytest.mark.parametrize(
        ("x", "y", "width", "height"), [(1080, 612, 40, 40), (500, 250, 30, 300), (1490, 1090, 10, 10)]
    )
    def test_a_region_is_that_part_and_no_other(self, slide, picture, x, y, width, height):
        region = slide.read_region((x, y), 0, (width, height))
        assert close_to(region, picture[y : y + height, x : x + width])

    def test_the_dark_square_is_found_where_it_is(self, slide):
        for level, step in enumerate((1, 2, 4)):
            inside = slide.read_region((1080 + 2 * step, 612 + 2 * step), level, (36 // step - 2, 36 // step - 2))
            assert inside.mean() < 60
            for x, y in ((1036, 612), (1124, 612), (1080, 568), (1080, 656)):
                assert slide.read_region((x, y), level, (36 // step, 36 // step)).mean() > 90

    def test_outside_is_white(self, slide, picture):
        region = slide.read_region((-20, -10), 0, (60, 50))
        assert (region[:10] == 255).all()
        assert (region[:, :20] == 255).all()
        assert close_to(region[10:, 20:], picture[:40, :40])
        right = slide.read_region((1480, 1080), 0, (60, 50))
        assert (right[20:] == 255).all()
        assert (right[:, 20:] == 255).all()
        assert (slide.read_region((5000, 5000), 1, (7, 8)) == 255).all()

    def test_a_level_or_size_that_is_not_there_is_refused(self, slide):
        with pytest.raises(SettingsError, match="is not one of 0 to"):
            slide.read_region((0, 0), slide.level_count, (10, 10))
        with pytest.raises(SettingsError, match="0 × 10 px"):
            slide.read_region((0, 0), 0, (0, 10))

    def test_the_vendor_is_said(self, slide):
        assert slide.properties["openslide.vendor"] in ("ome", "generic-tiff", "dicom", "dzi", "ome-zarr")

    def test_a_path_may_be_text(self, path):
        with Slide.open(str(path)) as slide:
            assert slide.dimensions == SIZES[0]


class TestOurOwnFormats:
    def test_scale_and_objective_are_said(self, own_path):
        with Slide.open(own_path) as slide:
            assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.345)
            assert float(slide.properties["openslide.mpp-y"]) == pytest.approx(0.345)
            assert slide.properties["openslide.objective-power"] == "20"

    def test_the_colour_profile_is_there_where_the_format_has_a_place_for_it(self, own_path):
        with Slide.open(own_path) as slide:
            if slide.properties["openslide.vendor"] in ("dzi", "ome-zarr"):
                assert slide.icc_profile == b""
            else:
                assert slide.icc_profile == srgb_profile()

    def test_a_picture_of_the_whole_is_one_call_away(self, own_path, picture):
        from parfocal.slide.overview import overview

        with Slide.open(own_path) as slide:
            small = overview(slide, 375)
        assert close_to(small, means(picture, 2))

    def test_what_is_cut_short_is_a_file_error_and_never_another_picture(self, own_path, tmp_path):
        copy = tmp_path / own_path.name
        (shutil.copytree if own_path.is_dir() else shutil.copy)(own_path, copy)
        largest = max(
            (file for file in [copy, *copy.rglob("*")] if file.is_file()), key=lambda file: file.stat().st_size
        )
        largest.write_bytes(largest.read_bytes()[: int(largest.stat().st_size * 0.4)])

        def read_everything():
            with Slide.open(copy) as slide:
                for level, size in enumerate(slide.level_dimensions):
                    slide.read_region((0, 0), level, size)

        with pytest.raises(FileError, match=r"slide|level-0\.dcm"):
            read_everything()


class TestDeepZoom:
    def test_a_descriptor_says_size_and_tiles(self, slide):
        text = DeepZoom(slide, 256).dzi()
        assert 'TileSize="256"' in text
        assert 'Overlap="0"' in text
        assert 'Width="1500"' in text
        assert 'Height="1100"' in text

    def test_tiles_together_are_the_slide(self, slide, picture):
        zoom = DeepZoom(slide, 256)
        assert zoom.level_count == 12
        assert zoom.level_dimensions[-1] == SIZES[0]
        assert zoom.level_dimensions[0] == (1, 1)
        columns, rows = zoom.level_tiles[-1]
        assert (columns, rows) == (6, 5)
        whole = np.vstack([np.hstack([zoom.tile(11, column, row) for column in range(columns)]) for row in range(rows)])
        assert whole.shape == (*SHAPE, 3)
        assert close_to(whole, picture)

    def test_smaller_levels_are_its_means(self, slide, picture):
        tile = DeepZoom(slide, 256).tile(8, 0, 0)
        assert tile.shape == (138, 188, 3)
        assert close_to(tile, cv2.resize(picture, (188, 138), interpolation=cv2.INTER_AREA))

    @pytest.mark.parametrize("place", [(12, 0, 0), (-1, 0, 0), (11, 6, 0), (11, 0, 5), (11, -1, 0)])
    def test_a_tile_that_is_not_there_is_refused(self, slide, place):
        with pytest.raises(SettingsError, match="is none of"):
            DeepZoom(slide).tile(*place)

    def test_a_tile_of_no_size_is_refused(self, slide):
        with pytest.raises(SettingsError, match="0 px"):
            DeepZoom(slide, 0)


@pytest.mark.skipif(not REAL.exists(), reason="needs the real slide in ../shared/data")
def test_tiles_of_a_real_slide_are_those_of_openslides_own_generator():
    with Slide.open(REAL) as slide, openslide.OpenSlide(REAL) as original:
        ours, theirs = DeepZoom(slide, 254), DeepZoomGenerator(original, 254, 0)
        assert ours.level_dimensions == theirs.level_dimensions
        for level, column, row in ((12, 3, 5), (12, 8, 11), (9, 1, 1), (5, 0, 0)):
            expected = np.asarray(theirs.get_tile(level, (column, row)))
            assert np.array_equal(ours.tile(level, column, row), expected)


class TestUrls:
    """fsspec's memory file system stands for S3: the same code, no server."""

    @pytest.mark.parametrize("name", ["dzi of another writer", "ome-zarr of another writer"])
    def test_a_url_opens_as_the_file_does(self, name, tmp_path, pyramid, picture):
        path = OTHERS[name](tmp_path, pyramid, picture)
        url = f"memory://{tmp_path.name}"
        fsspec.filesystem("memory").put(f"{tmp_path}/", url, recursive=True)
        with Slide.open(f"{url}/{path.name}") as slide:
            assert slide.dimensions == SIZES[0]
            assert close_to(slide.read_region((1000, 600), 0, (200, 100)), picture[600:700, 1000:1200])

    @pytest.mark.parametrize("url", ["memory://nowhere/slide.zarr", "memory://nowhere/slide.dzi"])
    def test_a_url_with_nothing_there_is_a_file_error(self, url):
        with pytest.raises(FileError, match="memory://nowhere/slide"):
            Slide.open(url)

    def test_a_url_of_no_known_kind_is_refused(self):
        with pytest.raises(SettingsError, match="teapot"):
            Slide.open("teapot://bucket/slide.zarr")


class TestFaults:
    def test_fields_that_were_not_stitched_are_told_so(self, tmp_path):
        (tmp_path / "scan.json").write_text("{}")
        with pytest.raises(FileError, match="not stitched yet"):
            Slide.open(tmp_path)

    def test_a_folder_of_anything_else_is_told_so(self, tmp_path):
        (tmp_path / "notes.txt").write_text("mine")
        with pytest.raises(FileError, match=r"holds no OME-Zarr, no DICOM files and no scan\.json"):
            Slide.open(tmp_path)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "<Image/>",
            '<Image TileSize="0" Overlap="0" Format="jpg"><Size Width="9" Height="9"/></Image>',
            '<Image TileSize="256" Overlap="0" Format="jpg"><Size Width="many" Height="9"/></Image>',
            "<?xml version='1.0' encoding='UPF-8'?><Image/>",
        ],
    )
    def test_a_descriptor_that_is_none_is_a_file_error(self, tmp_path, text):
        (tmp_path / "slide.dzi").write_text(text)
        with pytest.raises(FileError, match=r"slide\.dzi"):
            Slide.open(tmp_path / "slide.dzi")

    def test_a_tile_that_is_missing_is_named(self, tmp_path, pyramid, picture):
        path = dzi_by_openslide(tmp_path, pyramid, picture)
        (tmp_path / "other_files/11/1_0.png").unlink()
        (tmp_path / "other_files/11/0_1.png").write_bytes(b"")
        with Slide.open(path) as slide:
            with pytest.raises(FileError, match="tile 0, 1 of level 0 is missing"):
                slide.read_region((300, 0), 0, (10, 10))
            with pytest.raises(FileError, match="tile 1, 0 of level 0 is damaged"):
                slide.read_region((0, 300), 0, (10, 10))

    @pytest.mark.parametrize("attributes", [{}, {"ome": {"multiscales": []}}, {"ome": 3}])
    def test_a_zarr_that_is_no_image_is_a_file_error(self, tmp_path, attributes):
        zarr.create_group(tmp_path / "slide.zarr", zarr_format=3, attributes=attributes)
        with pytest.raises(FileError, match=r"slide\.zarr: not an OME-Zarr image"):
            Slide.open(tmp_path / "slide.zarr")

    @pytest.mark.parametrize(("key", "value"), [("fill_value", -1), ("chunk_shape", [1, 0, 256])])
    def test_a_zarr_level_that_cannot_be_is_a_file_error(self, tmp_path, key, value):
        attributes = {"ome": {"multiscales": [{"axes": [{"name": n} for n in "cyx"], "datasets": [{"path": "0"}]}]}}
        group = zarr.create_group(tmp_path / "slide.zarr", zarr_format=3, attributes=attributes)
        group.create_array("0", shape=(3, 8, 8), dtype="uint8")
        document = tmp_path / "slide.zarr" / "0" / "zarr.json"
        told = json.loads(document.read_text())
        (told if key in told else told["chunk_grid"]["configuration"])[key] = value
        document.write_text(json.dumps(told))
        with pytest.raises(FileError, match=r"slide\.zarr: (not an OME-Zarr image|damaged)"):
            Slide.open(tmp_path / "slide.zarr").read_region((0, 0), 0, (8, 8))

    def test_an_image_that_is_not_rgb_is_refused(self, tmp_path):
        axes = [{"name": "y"}, {"name": "x"}]
        attributes = {"ome": {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [{"path": "0"}]}]}}
        group = zarr.create_group(tmp_path / "grey.zarr", zarr_format=3, attributes=attributes)
        group.create_array("0", shape=(8, 8), dtype="uint16")
        with pytest.raises(FileError, match="not an RGB image of 8 bits"):
            Slide.open(tmp_path / "grey.zarr")


def test_a_dicom_slide_opens_by_any_of_its_levels_and_shows_its_label(tmp_path, pyramid, picture):
    from dataclasses import replace

    write_dicom(tmp_path / "d", pyramid, replace(DESCRIPTION, label=picture[:100, :150], overview=picture[:200, :600]))
    for name in (".", "level-0.dcm", "level-2.dcm"):
        with Slide.open(tmp_path / "d" / name) as slide:
            assert slide.dimensions == SIZES[0]
            assert set(slide.associated_images) == {"label", "macro", "thumbnail"}
            assert close_to(slide.associated_images["label"], picture[:100, :150])


def test_a_summary_of_ours_becomes_properties_and_nothing_else_does():
    from parfocal.slide.readers.own import own_properties

    told = {"format": "parfocal-slide-1", "name": "s", "magnification": 20.0, "pixel_size_um": 0.345, "fields": 4}
    found = own_properties(json.dumps(told))
    assert found["openslide.objective-power"] == "20"
    assert found["openslide.mpp-x"] == "0.345"
    assert found["parfocal.fields"] == "4"
    for other in ("Aperio image", "{}", "3", None, {"format": "another"}):
        assert own_properties(other) == {}
