"""The virtual slide: valid by the OME schema, all levels there, half a file never."""

from __future__ import annotations

import csv
import io
import resource

import numpy as np
import ome_types
import pytest
import tifffile
from described import DESCRIPTION as DESCRIBED

from parfocal.errors import FileError
from parfocal.slide.formats.description import SlideDescription
from parfocal.slide.formats.ome_tiff import ome_xml, write_ome_tiff
from parfocal.slide.pyramid import Pyramid, level_shapes

DESCRIPTION = SlideDescription(
    name="he-tissue <1> & µ",
    instrument="simulated-20x",
    pixel_size_um=0.345,
    magnification=20,
    na=0.75,
    immersion_index=1.0,
    creator="Parfocal 0.1.0",
)
SHAPE = (1100, 1500)


def picture(shape=SHAPE):
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    bands = np.stack([127 + 80 * np.sin(x / 40), 127 + 80 * np.cos(y / 55), 60 + x / 20], axis=-1)
    return np.clip(bands, 0, 255).astype(np.uint8)


def source_of(image):
    def block(x, y, width, height):
        found = image[y : y + height, x : x + width].copy()
        found[:, max(0, 1280 - x) :] = 255  # nobody looked there
        return found

    return block


@pytest.fixture(scope="module")
def slide_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("ome") / "slide.ome.tif"
    with Pyramid(level_shapes(SHAPE), path.parent) as pyramid:
        pyramid.build(source_of(picture()))
        write_ome_tiff(path, pyramid, DESCRIPTION)
    return path


@pytest.mark.parametrize("shape", [(1, 1), (512, 512), (513, 100), (1100, 1500), (5301, 4709), (100, 43000)])
def test_levels_halve_exactly_down_to_512_px(shape):
    shapes = level_shapes(shape)
    assert max(shapes[-1]) <= 512
    assert len(shapes) == 1 or max(shapes[-2]) > 512
    for level, (height, width) in enumerate(shapes):
        assert (height << level, width << level) == shapes[0]
    assert all(0 <= made - asked < 2 ** (len(shapes) - 1) for made, asked in zip(shapes[0], shape, strict=True))


def test_tifffile_sees_all_levels_in_subifds(slide_path):
    with tifffile.TiffFile(slide_path) as tiff:
        assert tiff.is_ome
        assert tiff.is_bigtiff
        assert len(tiff.pages) == 1
        series = tiff.series[0]
        assert [level.shape for level in series.levels] == [(1100, 1500, 3), (550, 750, 3), (275, 375, 3)]
        for level in series.levels:
            page = level.pages[0]
            assert (page.tilelength, page.tilewidth) == (256, 256)
            assert page.compression == tifffile.COMPRESSION.JPEG
            assert page.photometric == tifffile.PHOTOMETRIC.YCBCR
            assert page.tags["YCbCrSubSampling"].value == (2, 1)
        assert len(tiff.pages[0].subifds) == 2


def test_pixels_are_the_picture_and_smaller_levels_its_means(slide_path):
    image = picture()
    image[:, 1280:] = 255
    with tifffile.TiffFile(slide_path) as tiff:
        for level in tiff.series[0].levels:
            shown = level.asarray().astype(float)
            step = image.shape[0] // shown.shape[0]
            means = image.reshape(shown.shape[0], step, shown.shape[1], step, 3).mean(axis=(1, 3))
            assert np.abs(shown - means).mean() < 1.5


def test_the_xml_is_valid_and_says_how_large_a_pixel_is(slide_path):
    with tifffile.TiffFile(slide_path) as tiff:
        xml = tiff.ome_metadata
        resolution = tiff.pages[0].tags["XResolution"].value
    ome_types.validate_xml(xml.encode())
    ome = ome_types.from_tiff(slide_path)
    pixels, objective = ome.images[0].pixels, ome.instruments[0].objectives[0]
    assert ome.images[0].name == DESCRIPTION.name
    assert (pixels.size_x, pixels.size_y, pixels.size_c) == (1500, 1100, 3)
    assert (pixels.physical_size_x, pixels.physical_size_y) == (0.345, 0.345)
    assert pixels.physical_size_x_unit.value == "µm"
    assert (objective.nominal_magnification, objective.lens_na, objective.immersion.value) == (20, 0.75, "Air")
    assert ome.images[0].objective_settings.id == objective.id
    assert 1e4 / (resolution[0] / resolution[1]) == pytest.approx(0.345, rel=1e-5)


def test_the_quality_of_each_field_is_told_in_the_schemas_own_places():
    xml = ome_xml((10, 10), DESCRIBED)
    ome_types.validate_xml(xml)
    ome = ome_types.from_xml(xml)
    (image,), (microscope,) = ome.images, [one.microscope for one in ome.instruments]
    assert image.acquisition_date == DESCRIBED.scanned_at
    assert microscope.serial_number == "SN-7"
    (totals,), (table,) = ome.structured_annotations.map_annotations, ome.structured_annotations.comment_annotations
    assert {pair.k: pair.value for pair in totals.value.ms}["fields_empty"] == "1"
    rows = list(csv.DictReader(io.StringIO(table.value)))
    assert [int(row["field"]) for row in rows] == [field.field for field in DESCRIBED.fields]
    assert float(rows[0]["seam_residual_um"]) == DESCRIBED.fields[0].seam_residual_um
    assert {ref.id for ref in image.annotation_refs} == {totals.id, table.id}


def test_the_colour_profile_is_in_every_level(tmp_path):
    with Pyramid(level_shapes(SHAPE), tmp_path) as pyramid:
        pyramid.build(source_of(picture()))
        write_ome_tiff(tmp_path / "a.ome.tif", pyramid, DESCRIBED)
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tiff:
        ome_types.validate_xml(tiff.ome_metadata.encode())
        for level in tiff.series[0].levels:
            assert level.pages[0].tags["InterColorProfile"].value == DESCRIBED.icc_profile


@pytest.mark.parametrize(("index", "name"), [(1.0, "Air"), (1.333, "Water"), (1.47, "Glycerol"), (1.515, "Oil")])
def test_immersion_is_named_as_the_schema_does(index, name):
    xml = ome_xml((10, 10), SlideDescription("s", "i", 0.1, 100, 0.9, index, "c"))
    ome_types.validate_xml(xml)
    assert ome_types.from_xml(xml).instruments[0].objectives[0].immersion.value == name


def test_a_full_disk_leaves_the_earlier_slide_and_no_rubbish(slide_path, tmp_path):
    path = tmp_path / "slide.ome.tif"
    path.write_bytes(b"earlier")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Pyramid(level_shapes(SHAPE), tmp_path) as pyramid:
        pyramid.build(source_of(picture()))
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
        try:
            with pytest.raises(FileError, match=r"slide\.ome\.tif: cannot write: File too large"):
                write_ome_tiff(path, pyramid, DESCRIPTION)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [p.name for p in tmp_path.iterdir()] == ["slide.ome.tif"]
    assert path.read_bytes() == b"earlier"


def test_a_full_disk_while_spooling_is_a_file_error(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(FileError, match="File too large"), Pyramid(level_shapes(SHAPE), tmp_path) as pyramid:
            pyramid.build(source_of(picture()))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())
