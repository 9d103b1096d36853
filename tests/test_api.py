"""The typed API: a scan from a program, and the report that it returns."""

import datetime
import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tifffile

import parfocal
from knowing import Knowing
from parfocal.errors import SettingsError
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.formats.description import pseudonym
from parfocal.slide.quality.table import read_scores

KEYS = {
    "version", "seed", "microscope", "specimen", "fields", "fields_empty", "fields_unsure", "images_total",
    "images_per_field", "modelled_time_s", "wall_time_s", "peak_memory_mib", "focus", "stitching", "slide",
    "policy", "rescanned", "fields_in_doubt", "tissue_coverage", "out_of_focus",
}  # fmt: skip
FOCUS_KEYS = {
    "tissue_fields", "in_focus_fraction", "mean_abs_error_um", "p95_abs_error_um", "depth_of_field_um",
}  # fmt: skip
STITCHING_KEYS = {"seams", "rms_error_px", "max_error_px"}
AREA_MM = (0.25, 0.18)


@pytest.fixture(scope="module")
def scanned(small_toml, tmp_path_factory):
    """(report, folder) of a small scan whose predictor knows the truth."""
    folder = tmp_path_factory.mktemp("scans") / "slide"
    label = folder.parent / "photograph.png"
    cv2.imwrite(str(label), np.full((60, 80, 3), 90, np.uint8))
    instrument = parfocal.open_microscope(small_toml(), "blood-smear", 3)
    progress = []
    report = parfocal.scan(
        instrument,
        folder,
        AREA_MM,
        predictor=Knowing(instrument),
        slide_id="B-7",
        label=label,
        on_progress=lambda p: progress.append(p.fields_done),
    )
    assert progress == list(range(1, report["fields"] + 1))
    return report, folder


def test_the_report_has_the_keys_that_others_rely_on(scanned):
    report, folder = scanned
    assert report.keys() >= KEYS
    assert report["focus"].keys() == FOCUS_KEYS
    assert report["stitching"].keys() >= STITCHING_KEYS
    assert json.loads((folder / "report.json").read_text(encoding="utf-8")) == json.loads(json.dumps(report))


def test_the_report_says_what_was_scanned(scanned):
    report, _ = scanned
    assert report["version"] == parfocal.__version__
    assert (report["seed"], report["microscope"], report["specimen"]) == (3, "small", "blood-smear")
    assert (report["fields"], report["fields_empty"], report["fields_unsure"]) == (9, 0, 0)


def test_the_report_says_how_it_was_scanned_and_what_is_in_doubt(scanned):
    report, _ = scanned
    assert (report["policy"], report["settings"]["everywhere"]) == ("surface", False)
    assert report["rescanned"] == 0
    assert report["fields_in_doubt"] == []
    assert report["tissue_coverage"] == 1.0
    assert set(report["out_of_focus"]) <= {str(index) for index in range(9)}
    assert all(0 <= share <= 0.5 for share in report["out_of_focus"].values())


def test_a_scan_goes_by_the_policy_that_is_asked_for(small_toml, tmp_path):
    instrument = parfocal.open_microscope(small_toml(), "blood-smear", 3)
    wanted = {"policy": "paper", "everywhere": True}
    report = parfocal.scan(instrument, tmp_path, (0.1, 0.07), predictor=Knowing(instrument), **wanted)
    assert report["policy"] == "paper"
    assert {name: report["settings"][name] for name in wanted} == wanted
    assert instrument.settings.policy == "surface"


def test_a_policy_that_is_none_is_refused_before_anything_is_written(small_toml, tmp_path):
    instrument = parfocal.open_microscope(small_toml(), "blood-smear")
    with pytest.raises(SettingsError, match="unknown policy 'luck'"):
        parfocal.scan(instrument, tmp_path / "slide", predictor=Knowing(instrument), policy="luck")
    assert not (tmp_path / "slide").exists()


def test_with_a_perfect_predictor_what_is_left_is_the_error_of_the_stage(scanned):
    focus = scanned[0]["focus"]
    assert focus["tissue_fields"] == 9
    assert focus["mean_abs_error_um"] < 0.4
    assert focus["p95_abs_error_um"] < 0.85
    assert focus["depth_of_field_um"] == pytest.approx(1.208, abs=0.001)


def test_fields_are_placed_to_a_pixel(scanned):
    stitching = scanned[0]["stitching"]
    assert stitching["rms_error_px"] <= 1.0
    assert stitching["rms_error_px"] <= stitching["max_error_px"]
    assert stitching["seams"] == 3 * 2 + 2 * 3


def test_everything_that_is_promised_lies_in_the_folder(scanned):
    report, folder = scanned
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "scan.json", "fields.jsonl", "journal.jsonl", "frames", "slide.ome.tif", "overview.jpg", "focus.png",
        "report.json", "registration.json", "seams.png", "scores.json", "label.png", "light.json",
    }  # fmt: skip
    assert report["slide"] == "slide.ome.tif"


def test_the_folder_knows_whose_slide_it_is_and_when_it_was_scanned_and_the_slide_does_not(scanned):
    folder = FieldsFolder(scanned[1])
    assert (folder.header.slide_id, folder.label().shape) == ("B-7", (60, 80, 3))
    age = datetime.datetime.now(datetime.UTC) - folder.header.started_at
    assert datetime.timedelta(0) < age < datetime.timedelta(hours=1)
    assert len(folder.header.scan_id) == 32
    with tifffile.TiffFile(scanned[1] / "slide.ome.tif") as file:
        assert f'Name="{pseudonym(folder)}"' in file.ome_metadata
        assert "B-7" not in file.ome_metadata


def test_the_score_of_every_frame_is_kept_beside_the_fields(scanned):
    scores = read_scores(scanned[1])
    assert {str(index): round(score, 4) for index, score in scores.items()} == scanned[0]["out_of_focus"]


def test_the_slide_covers_the_area_at_the_scale_of_the_camera(scanned):
    with tifffile.TiffFile(scanned[1] / "slide.ome.tif") as file:
        rows, columns = file.series[0].shape[:2]
        assert 'PhysicalSizeX="0.345"' in file.ome_metadata
    assert columns * 0.345 >= AREA_MM[0] * 1000 - 10
    assert rows * 0.345 >= AREA_MM[1] * 1000 - 10


def test_the_slide_opens_through_the_package(scanned):
    with parfocal.Slide.open(scanned[1] / "slide.ome.tif") as slide:
        region = np.asarray(slide.read_region((0, 0), 0, (64, 48)))
        assert region.shape[:2] == (48, 64)
        assert region[..., :3].std() > 2


def test_an_area_beyond_the_stage_is_refused_before_anything_is_written(small_toml, tmp_path):
    instrument = parfocal.open_microscope(small_toml(), "blood-smear")
    with pytest.raises(SettingsError, match="outside the stage's"):
        parfocal.scan(instrument, tmp_path / "slide", (40.0, 1.0), predictor=Knowing(instrument))
    assert not (tmp_path / "slide").exists()
    assert instrument.microscope.clock.now_s == 0


def test_one_field_is_focused_and_the_lamp_put_out(small_toml):
    instrument = parfocal.open_microscope(small_toml(), "blood-smear", 3)
    x_um, y_um, _ = instrument.truth.stage_position_um
    best_um = instrument.truth.best_focus_um(x_um, y_um)
    result = parfocal.focus_field(instrument, best_um, Knowing(instrument))
    assert result.verdict == "focused"
    assert result.z_um == pytest.approx(best_um, abs=1.5)
    assert not instrument.microscope.lamp.is_on


@pytest.mark.parametrize(
    "first",
    [
        "",
        pytest.param("from parfocal.scan.plan import plan_scan", marks=pytest.mark.slow),
        pytest.param("import parfocal.scan", marks=pytest.mark.slow),
    ],
)
def test_the_function_scan_goes_before_the_package_of_that_name_whatever_was_imported_first(first):
    code = (
        f"{first}\nfrom parfocal import scan\nimport parfocal\nfrom parfocal.scan.report import REPORT_FILE\n"
        "assert callable(scan) and scan is parfocal.scan and REPORT_FILE == 'report.json'"
    )
    subprocess.run([sys.executable, "-W", "error::ImportWarning", "-c", code], check=True, timeout=60)


def test_a_name_that_the_package_has_not_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'scann'"):
        _ = parfocal.scann
