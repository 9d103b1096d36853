"""One export in every format, read back by programs that we did not write: size, scale, pixels, validity."""

from __future__ import annotations

import itertools
import logging
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import ome_types
import openslide
import pydicom
import pytest
import tifffile
import wsidicom
import yaozarrs
import zarr

from parfocal.slide.export import export
from parfocal.slide.fields.layout import LABEL_FILE
from parfocal.slide.formats.destinations import FORMATS

pytestmark = pytest.mark.slow

MPP = 0.345


@pytest.fixture(scope="module")
def exported(tmp_path_factory, synthetic_scan) -> dict[str, Path]:
    """Path of each format, of a scan with empty fields, a missing one and a label."""
    scan = synthetic_scan(rows=5, columns=5, empty=(3, 4), missing=(11,))
    cv2.imwrite(str(scan.folder.path / LABEL_FILE), scan.texture[:200, :301])
    out = tmp_path_factory.mktemp("exports") / "with a space 🔬"
    result = export(scan.folder.path, out, FORMATS, identified=True)
    return dict(result.destinations.paths)


@pytest.fixture(scope="module")
def levels(exported) -> list[np.ndarray]:
    """The pixels of each level, (Y, X, 3), as zarr-python reads them: they were stored without loss."""
    group = zarr.open_group(exported["ome-zarr"], mode="r")
    return [np.moveaxis(np.asarray(group[name][:]), 0, -1) for name in sorted(group.array_keys())]


def size(level: np.ndarray) -> tuple[int, int]:
    return level.shape[1], level.shape[0]


def assert_same(shown, level: np.ndarray) -> None:
    """Within what JPEG changes."""
    shown = np.asarray(shown)[..., :3]
    assert shown.shape == level.shape
    assert np.abs(shown.astype(float) - level).mean() < 4


def test_the_slide_is_large_enough_to_tell(levels):
    assert len(levels) >= 3
    assert levels[0].std() > 20


def test_zarr_levels_are_means_of_the_one_before(levels):
    for finer, coarser in itertools.pairwise(levels):
        height, width = coarser.shape[:2]
        means = finer.astype(float).reshape(height, 2, width, 2, 3).mean(axis=(1, 3))
        assert np.abs(means - coarser).max() <= 1


def test_tifffile_reads_the_ome_tiff(exported, levels):
    with tifffile.TiffFile(exported["ome-tiff"]) as tiff:
        assert tiff.is_ome
        assert len(tiff.series[0].levels) == len(levels)
        for stored, level in zip(tiff.series[0].levels, levels, strict=True):
            assert_same(stored.asarray(), level)


def test_the_ome_xml_follows_the_schema(exported):
    with tifffile.TiffFile(exported["ome-tiff"]) as tiff:
        ome_types.validate_xml(tiff.ome_metadata.encode())
    pixels = ome_types.from_tiff(exported["ome-tiff"]).images[0].pixels
    assert (pixels.physical_size_x, pixels.physical_size_y) == (MPP, MPP)


@pytest.mark.parametrize(("kind", "vendor"), [("tiff", "generic-tiff"), ("dicom", "dicom")])
def test_openslide_reads_every_level(exported, levels, kind, vendor):
    path = exported[kind] / "level-0.dcm" if kind == "dicom" else exported[kind]
    with openslide.OpenSlide(path) as slide:
        assert slide.properties["openslide.vendor"] == vendor
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(MPP, rel=1e-6)
        assert float(slide.properties["openslide.mpp-y"]) == pytest.approx(MPP, rel=1e-6)
        assert slide.level_dimensions == tuple(size(level) for level in levels)
        for number, level in enumerate(levels):
            assert_same(slide.read_region((0, 0), number, size(level)), level)


def test_wsidicom_reads_every_level(exported, levels):
    with wsidicom.WsiDicom.open(exported["dicom"]) as slide:
        assert len(list(slide.pyramids[0])) == len(levels)
        for stored, level in zip(slide.pyramids[0], levels, strict=True):
            assert stored.mpp.width == pytest.approx(MPP * levels[0].shape[1] / level.shape[1])
            assert_same(slide.read_region((0, 0), stored.level, size(level)), level)


def test_pydicom_decodes_every_tile(exported, levels):
    for number, level in enumerate(levels):
        dataset = pydicom.dcmread(exported["dicom"] / f"level-{number}.dcm")
        rows, columns = -(-level.shape[0] // dataset.Rows), -(-level.shape[1] // dataset.Columns)
        tiles = pydicom.pixels.pixel_array(dataset).reshape(rows, columns, dataset.Rows, dataset.Columns, 3)
        whole = tiles.swapaxes(1, 2).reshape(rows * dataset.Rows, columns * dataset.Columns, 3)
        assert_same(whole[: level.shape[0], : level.shape[1]], level)


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="needs dciodvfy, of Debian's package dicom3tools")
def test_dciodvfy_finds_no_error(exported):
    for path in sorted(exported["dicom"].iterdir()):
        found = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False)
        told = found.stdout + found.stderr
        assert "VLWholeSlideMicroscopyImage" in told
        assert "Error" not in told, told


@pytest.mark.skipif(not shutil.which("dcentvfy"), reason="needs dcentvfy, of Debian's package dicom3tools")
def test_dcentvfy_finds_the_files_to_be_one_study(exported, tmp_path):
    def told(folder):
        found = subprocess.run(["dcentvfy", *sorted(folder.iterdir())], capture_output=True, text=True, check=False)
        return found.stdout + found.stderr

    assert told(exported["dicom"]) == ""
    shutil.copytree(exported["dicom"], tmp_path / "dicom")
    dataset = pydicom.dcmread(tmp_path / "dicom" / "level-1.dcm")
    dataset.StudyDate = "20200202"
    dataset.save_as(tmp_path / "dicom" / "level-1.dcm")
    assert "StudyDate" in told(tmp_path / "dicom")


@pytest.fixture(scope="module")
def validate():
    """dicom-validator, by the standard of 2020 (see `dicom_rules`)."""
    pytest.importorskip("dicom_validator", reason="needs dicom-validator (the dev extra)")
    from dicom_rules import dicom_info
    from dicom_validator.validator.dicom_file_validator import DicomFileValidator

    return DicomFileValidator(dicom_info(), log_level=logging.CRITICAL).validate


def test_dicom_validator_finds_no_error(exported, validate):
    results = validate(exported["dicom"])
    assert {Path(path).name for path in results} >= {"level-0.dcm", "level-1.dcm", "thumbnail.dcm", "label.dcm"}
    assert {path: result.module_errors for path, result in results.items() if result.errors} == {}


@pytest.mark.parametrize("name", ["FocusMethod", "LossyImageCompressionRatio", "ContainerIdentifier"])
def test_dicom_validator_misses_what_is_missing(exported, validate, tmp_path, name):
    dataset = pydicom.dcmread(exported["dicom"] / "level-1.dcm")
    del dataset[name]
    dataset.save_as(tmp_path / "level-1.dcm")
    (result,) = validate(tmp_path / "level-1.dcm").values()
    assert result.errors == 1


def test_yaozarrs_accepts_the_ome_zarr(exported):
    yaozarrs.validate_zarr_store(str(exported["ome-zarr"]))
