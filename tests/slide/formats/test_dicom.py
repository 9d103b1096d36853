"""DICOM whole-slide images: what pydicom, OpenSlide, wsidicom and dciodvfy say of them; half a slide never."""

from __future__ import annotations

import datetime
import json
import resource
import shutil
import subprocess
import tracemalloc
from dataclasses import asdict, replace

import numpy as np
import openslide
import pydicom
import pytest
import wsidicom

from parfocal.errors import FileError
from parfocal.slide.formats.description import SlideDescription
from parfocal.slide.formats.dicom import write_dicom
from parfocal.slide.formats.dicom_attributes import (
    PRIVATE_CREATOR,
    PRIVATE_GROUP,
    QUALITY_ELEMENT,
    common_attributes,
    file_meta,
    image_attributes,
    short_text,
)
from parfocal.slide.formats.dicom_frames import write_frames
from parfocal.slide.pyramid import Pyramid, level_shapes
from parfocal.slide.quality.table import FieldQuality

SHAPE = (1100, 1500)
SEEN_PX = 1280  # nobody looked to the right of it
ROLES = ("study", "series", "frame of reference", "pyramid", "dimensions", "specimen")


def field_quality(number: int) -> FieldQuality:
    return FieldQuality(
        field=number,
        row=0,
        column=number,
        mosaic_x_px=300.0 * number,
        mosaic_y_px=0.0,
        stage_x_um=100.0,
        stage_y_um=200.0,
        stage_z_um=3.0,
        verdict="unsure" if number == 2 else "focused",
        focus_um=3.1,
        focus_sd_um=None,
        focus_source="measured",
        score=0.02,
        images=2,
        attempt=1,
        seams=2,
        seams_accepted=2,
        seam_residual_px=0.1 * number,
        seam_residual_um=0.0345 * number,
        island=0,
    )


def picture(height: int = SHAPE[0], width: int = SHAPE[1]) -> np.ndarray:
    y, x = np.mgrid[:height, :width].astype(float)
    bands = np.stack([127 + 80 * np.sin(x / 40), 127 + 80 * np.cos(y / 55), 60 + x / 20], axis=-1)
    return np.clip(bands, 0, 255).astype(np.uint8)


DESCRIPTION = SlideDescription(
    name="he-tissue <1> & µ",
    instrument="simulated-20x",
    pixel_size_um=0.345,
    magnification=20,
    na=0.75,
    immersion_index=1.0,
    creator="Parfocal 0.1.0",
    serial_number="SN-7",
    scanned_at=datetime.datetime(2026, 3, 4, 5, 6, 7, tzinfo=datetime.UTC),
    label=picture(200, 301),
    overview=picture(250, 700),
    fields=tuple(field_quality(number) for number in range(5)),
)
PSEUDONYMOUS = replace(DESCRIPTION, label=None, overview=None, serial_number="", scanned_at=None, fields=())


@pytest.fixture(scope="module")
def pyramid(tmp_path_factory):
    whole = picture()
    whole[:, SEEN_PX:] = 255
    with Pyramid(level_shapes(SHAPE), tmp_path_factory.mktemp("spool")) as opened:
        opened.build(lambda x, y, width, height: whole[y : y + height, x : x + width])
        yield opened


@pytest.fixture(scope="module")
def folder(tmp_path_factory, pyramid):
    path = tmp_path_factory.mktemp("dicom") / "slide 1 🔬"
    write_dicom(path, pyramid, DESCRIPTION)
    return path


@pytest.fixture(scope="module")
def pseudonymous(tmp_path_factory, pyramid):
    path = tmp_path_factory.mktemp("dicom") / "pseudonymous"
    write_dicom(path, pyramid, PSEUDONYMOUS)
    return path


def expected(level: int) -> np.ndarray:
    """Pixels of a level as float: means of the picture, white where nobody looked."""
    image, step = picture().astype(float), 2**level
    image[:, SEEN_PX:] = 255
    return image.reshape(SHAPE[0] // step, step, SHAPE[1] // step, step, 3).mean(axis=(1, 3))


def difference(shown, level: int) -> float:
    return float(np.abs(np.asarray(shown)[..., :3] - expected(level)).mean())


class TestOtherReaders:
    @pytest.mark.skipif(not shutil.which("dciodvfy"), reason="needs dciodvfy, of Debian's package dicom3tools")
    @pytest.mark.parametrize("name", ["folder", "pseudonymous"])
    def test_dciodvfy_finds_no_error(self, name, request):
        for path in sorted(request.getfixturevalue(name).iterdir()):
            found = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False)
            assert "VLWholeSlideMicroscopyImage" in found.stderr + found.stdout
            assert "Error" not in found.stderr + found.stdout

    def test_openslide_reads_all_levels_and_pictures(self, folder):
        with openslide.OpenSlide(folder / "level-0.dcm") as slide:
            assert slide.properties["openslide.vendor"] == "dicom"
            assert slide.level_dimensions == ((1500, 1100), (750, 550), (375, 275))
            assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.345)
            assert float(slide.properties["openslide.mpp-y"]) == pytest.approx(0.345)
            assert slide.properties["openslide.objective-power"] == "20"
            for level, size in enumerate(slide.level_dimensions):
                assert difference(slide.read_region((0, 0), level, size), level) < 1.5
            assert set(slide.associated_images) == {"label", "macro", "thumbnail"}
            assert slide.associated_images["label"].size == (301, 200)
            assert slide.associated_images["macro"].size == (700, 250)
            assert slide.color_profile is not None

    def test_wsidicom_reads_all_levels_at_their_scale(self, folder):
        with wsidicom.WsiDicom.open(folder) as slide:
            assert [(level.size.width, level.size.height) for level in slide.pyramids[0]] == [
                (1500, 1100),
                (750, 550),
                (375, 275),
            ]
            for number, level in enumerate(slide.pyramids[0]):
                assert level.mpp.width == pytest.approx(0.345 * 2**number)
                shown = slide.read_region((0, 0), level.level, (level.size.width, level.size.height))
                assert difference(shown, number) < 1.5
            assert slide.read_label().size == (301, 200)
            assert slide.read_overview().size == (700, 250)

    def test_pydicom_decodes_every_frame(self, folder):
        for path in folder.iterdir():
            dataset = pydicom.dcmread(path)
            frames = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns, 3)
            assert len(frames) == dataset.NumberOfFrames

    def test_a_pseudonymous_slide_has_no_label_no_times_and_no_serial_number(self, pseudonymous):
        assert {path.name for path in pseudonymous.iterdir()} == {
            "level-0.dcm",
            "level-1.dcm",
            "level-2.dcm",
            "thumbnail.dcm",
        }
        dataset = pydicom.dcmread(pseudonymous / "level-0.dcm")
        assert dataset.AcquisitionDateTime == "19700101000000"
        assert dataset.LongitudinalTemporalInformationModified == "REMOVED"
        assert dataset.PatientIdentityRemoved == "YES"
        assert dataset.DeviceSerialNumber == "Unknown"
        with openslide.OpenSlide(pseudonymous / "level-0.dcm") as slide:
            assert set(slide.associated_images) == {"thumbnail"}


class TestWhatTheFileSays:
    @pytest.fixture
    def level_0(self, folder):
        return pydicom.dcmread(folder / "level-0.dcm")

    def test_the_tiles_are_the_pyramids_own(self, folder, pyramid):
        for level in range(3):
            dataset = pydicom.dcmread(folder / f"level-{level}.dcm")
            tiles = list(pyramid.tiles(level))
            frames = list(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=len(tiles)))
            assert [frame.rstrip(b"\0") for frame in frames] == [tile.rstrip(b"\0") for tile in tiles]

    def test_optics_size_and_focus_stand_in_the_standards_places(self, level_0):
        assert level_0.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.50"
        assert level_0.SOPClassUID == "1.2.840.10008.5.1.4.1.1.77.1.6"
        assert list(level_0.ImageType) == ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
        assert level_0.DimensionOrganizationType == "TILED_FULL"
        assert (level_0.FocusMethod, level_0.ExtendedDepthOfField) == ("AUTO", "NO")
        assert level_0.ContainerIdentifier == DESCRIPTION.name
        assert level_0.AcquisitionDateTime == "20260304050607"
        assert level_0.TimezoneOffsetFromUTC == "+0000"
        assert level_0.DeviceSerialNumber == "SN-7"
        assert level_0.ImagedVolumeWidth == pytest.approx(1500 * 0.345e-3)
        origin = level_0.TotalPixelMatrixOriginSequence[0]
        assert origin.XOffsetInSlideCoordinateSystem == pytest.approx(12.5 + 550 * 0.345e-3)
        assert origin.YOffsetInSlideCoordinateSystem == pytest.approx(37.5 + 750 * 0.345e-3)
        path = level_0.OpticalPathSequence[0]
        assert (path.ObjectiveLensPower, path.ObjectiveLensNumericalAperture) == (20, 0.75)
        assert path.ICCProfile[36:40] == b"acsp"
        measures = level_0.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        assert [float(size) for size in measures.PixelSpacing] == pytest.approx([0.345e-3] * 2)
        raw, stored = 30 * 256 * 256 * 3, sum(len(frame) for frame in _frames(level_0))
        assert float(level_0.LossyImageCompressionRatio) == pytest.approx(raw / stored, rel=0.01)

    def test_a_calibrated_profile_replaces_srgb(self, pyramid, tmp_path):
        write_dicom(tmp_path / "slide", pyramid, replace(DESCRIPTION, icc_profile=b"a profile!"))
        dataset = pydicom.dcmread(tmp_path / "slide" / "level-0.dcm")
        assert dataset.OpticalPathSequence[0].ICCProfile == b"a profile!"

    def test_the_quality_table_is_whole_in_level_0_and_a_line_for_who_reads_only_the_standard(self, folder, level_0):
        block = level_0.private_block(PRIVATE_GROUP, PRIVATE_CREATOR)
        rows = json.loads(block[QUALITY_ELEMENT].value)
        assert rows == [asdict(field) for field in DESCRIPTION.fields]
        assert level_0.ImageComments.startswith("5 fields, 1 unsure, 0 failed, 0 empty, largest seam residual 0.40 px")
        assert "ImageComments" not in pydicom.dcmread(folder / "level-1.dcm")

    def test_all_files_are_one_series_of_one_specimen(self, folder):
        datasets = [pydicom.dcmread(path) for path in folder.iterdir()]
        for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PyramidUID"):
            assert len({dataset[name].value for dataset in datasets}) == 1
        assert len({dataset.SOPInstanceUID for dataset in datasets}) == len(datasets) == 6
        assert sorted(dataset.InstanceNumber for dataset in datasets) == [1, 2, 3, 4, 5, 6]


class TestUids:
    def uids(self, folder):
        return {path.name: pydicom.dcmread(path).SOPInstanceUID for path in folder.iterdir()}

    def test_a_second_export_is_the_same_slide_byte_by_byte(self, folder, pyramid, tmp_path):
        again = tmp_path / "again"
        write_dicom(again, pyramid, DESCRIPTION)
        for path in folder.iterdir():
            assert (again / path.name).read_bytes() == path.read_bytes()

    @pytest.mark.parametrize("change", [{"name": "another"}, {"serial_number": ""}, {"fields": ()}])
    def test_whatever_is_said_differently_is_another_slide(self, folder, pyramid, tmp_path, change):
        write_dicom(tmp_path / "other", pyramid, replace(DESCRIPTION, **change))
        assert not set(self.uids(folder).values()) & set(self.uids(tmp_path / "other").values())

    def test_random_uids_differ_at_every_export(self, pyramid, tmp_path):
        for name in ("one", "two"):
            write_dicom(tmp_path / name, pyramid, PSEUDONYMOUS, random_uids=True)
        assert not set(self.uids(tmp_path / "one").values()) & set(self.uids(tmp_path / "two").values())

    def test_every_uid_is_valid(self, folder):
        for path in folder.iterdir():
            for element in pydicom.dcmread(path).iterall():
                if element.VR == "UI":
                    assert element.value.is_valid
                    assert len(element.value) <= 64


class TestLargeFiles:
    """Where a basic offset table's 32 bits do not reach. Here the limit is set low."""

    @pytest.fixture
    def extended(self, folder, pyramid, tmp_path):
        path = tmp_path / "level-0.dcm"
        dataset = pydicom.dcmread(folder / "level-0.dcm")
        del dataset.PixelData
        write_frames(path, dataset, pyramid.tiles(0), pyramid.lengths(0).tolist(), largest=50_000)
        return path

    def test_the_extended_offset_table_leads_pydicom_to_every_frame(self, extended, pyramid):
        dataset = pydicom.dcmread(extended)
        for number, tile in enumerate(pyramid.tiles(0)):
            table = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
            frame = pydicom.encaps.get_frame(dataset.PixelData, number, number_of_frames=30, extended_offsets=table)
            assert frame.rstrip(b"\0") == tile.rstrip(b"\0")

    def test_openslide_and_wsidicom_read_it(self, extended):
        with openslide.OpenSlide(extended) as slide:
            assert difference(slide.read_region((0, 0), 0, slide.dimensions), 0) < 1.5
        with wsidicom.WsiDicom.open(extended.parent) as slide:
            assert difference(slide.read_region((0, 0), 0, (1500, 1100)), 0) < 1.5

    def test_frames_pass_through_one_by_one(self, tmp_path):
        lengths = [2**20 + number for number in range(100)]
        dataset = common_attributes(PSEUDONYMOUS, dict.fromkeys(ROLES, pydicom.uid.UID("2.25.1")))
        dataset.update(image_attributes(("ORIGINAL", "PRIMARY", "VOLUME", "NONE"), (2560, 2560), (256, 256), lengths))
        dataset.SOPInstanceUID = pydicom.uid.UID("2.25.2")
        dataset.file_meta = file_meta(dataset.SOPInstanceUID)
        tracemalloc.start()
        try:
            write_frames(tmp_path / "large.dcm", dataset, (bytes(length) for length in lengths), lengths)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert (tmp_path / "large.dcm").stat().st_size > 100 * 2**20
        assert peak < 8 * 2**20


class TestFaults:
    def test_a_full_disk_leaves_the_earlier_slide_and_no_rubbish(self, folder, pyramid, tmp_path):
        path = tmp_path / "dicom"
        shutil.copytree(folder, path)
        before = {file.name: file.read_bytes() for file in path.iterdir()}
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
        try:
            with pytest.raises(FileError, match="dicom: cannot write: File too large"):
                write_dicom(path, pyramid, PSEUDONYMOUS)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert [found.name for found in tmp_path.iterdir()] == ["dicom"]
        assert {file.name: file.read_bytes() for file in path.iterdir()} == before

    def test_an_earlier_slide_is_replaced_whole(self, folder, pyramid, tmp_path):
        path = tmp_path / "dicom"
        shutil.copytree(folder, path)
        write_dicom(path, pyramid, PSEUDONYMOUS)
        assert not (path / "label.dcm").exists()
        assert [found.name for found in tmp_path.iterdir()] == ["dicom"]

    def test_a_folder_with_anything_else_in_it_is_refused_untouched(self, pyramid, tmp_path):
        (tmp_path / "notes.txt").write_text("mine")
        with pytest.raises(FileError, match=r"holds notes\.txt"):
            write_dicom(tmp_path, pyramid, DESCRIPTION)
        assert [found.name for found in tmp_path.iterdir()] == ["notes.txt"]

    def test_a_file_of_that_name_is_refused_untouched(self, pyramid, tmp_path):
        (tmp_path / "dicom").write_text("mine")
        with pytest.raises(FileError, match="is a file"):
            write_dicom(tmp_path / "dicom", pyramid, DESCRIPTION)
        assert (tmp_path / "dicom").read_text() == "mine"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("slide 7 µ 🔬", "slide 7 µ 🔬"), ("x" * 64, "x" * 64), ("", "Unknown")],
)
def test_a_name_that_dicom_allows_is_kept(text, shown):
    assert short_text(text) == shown


@pytest.mark.parametrize("text", ["a\\b", "x" * 65, "two\nlines", " outer"])
def test_any_other_name_is_shortened_to_one_that_stays_unique(text):
    shown = short_text(text)
    assert len(shown) <= 64
    assert "\\" not in shown
    assert shown.isprintable()
    assert shown != short_text(text + "2")


def _frames(dataset):
    return pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=dataset.NumberOfFrames)
