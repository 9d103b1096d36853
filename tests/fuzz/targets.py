"""Everything that reads what somebody else may have written: a whole input, how it is spoilt, and who reads it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
from mutations import Mutation, changed_json, changed_lines, changed_sealed_lines, changed_text, damaged

from parfocal.config import shipped_network
from parfocal.config.tables import read_instrument_file
from parfocal.documents import read_json
from parfocal.focus.predictor import open_network
from parfocal.review.agreement_report import measure_agreement
from parfocal.review.reading_state import next_reading
from parfocal.review.readings import read_readings
from parfocal.review.report import read_report
from parfocal.review.report_entry import read_entry
from parfocal.review.report_forms import load_form
from parfocal.review.report_pdf import pdf_bytes
from parfocal.review.study import StudyDesign, StudyPlan, plan_study
from parfocal.scan.calibration.record import Calibration, identity_of, read_calibration
from parfocal.scan.rescan import fields_in_doubt
from parfocal.slide.export import export
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.imported import ImportSettings, import_fields
from parfocal.slide.fields.records import FieldRecord, FieldsHeader
from parfocal.slide.fields.writer import FieldsWriter
from parfocal.slide.quality.files import read_csv, read_parquet, write_tables
from parfocal.slide.quality.table import read_scores, write_scores
from parfocal.slide.reader import Slide
from parfocal.slide.registration.kept import registered
from parfocal.slide.stitch import stitch
from parfocal.stacks.sets import read_stacks
from parfocal.training.recipe import read_recipe

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Target:
    """One kind of input.

    Attributes:
        name: of the kind.
        make: puts a whole input into an empty folder.
        file: what is spoilt, relative to that folder.
        mutation: how.
        read: who reads it; gets the folder.
    """

    name: str
    make: Callable[[Path], None]
    file: str
    mutation: Mutation
    read: Callable[[Path], object]


def _fields(folder: Path) -> None:
    """2 × 2 fields cut from one picture."""
    shape, step = (96, 128), (72, 96)
    noise = np.random.default_rng(1).normal(0, 1, (shape[0] + step[0], shape[1] + step[1], 3))
    picture = np.clip(150 + 120 * cv2.GaussianBlur(noise, (0, 0), 1.5), 0, 255).astype(np.uint8)
    header = FieldsHeader("0.1.0", 1, "made-up", "noise", 0.345, shape, 20, 0.75, 1.0, 1.21, 2, 2, 0.25)
    with FieldsWriter(folder / "fields", header) as writer:
        for index, (row, column) in enumerate(((0, 0), (0, 1), (1, 1), (1, 0))):
            y, x = row * step[0], column * step[1]
            centre_um = ((x + shape[1] / 2) * 0.345, (y + shape[0] / 2) * 0.345)
            record = FieldRecord(index, row, column, *centre_um, 0.0, "focused", 2, focus={"focus_um": 0.5})
            writer.put(record, picture[y : y + shape[0], x : x + shape[1]])


def _kept_fields(folder: Path) -> None:
    _fields(folder)
    stitch(folder / "fields")
    write_scores(folder / "fields", {0: 0.25, 3: 0.5})
    (folder / "fields" / "report.json").write_text(json.dumps({"fields_in_doubt": [3], "rescanned": 0}))


def _exported(folder: Path) -> None:
    _fields(folder)
    made = export(folder / "fields", folder / "out", ("ome-tiff", "tiff", "dicom", "ome-zarr", "dzi"))
    write_tables(folder, made.description.fields)
    shutil.move(next((folder / "out").glob("*.ome.tif")), folder / "slide.ome.tif")
    shutil.move(next((folder / "out").glob("*.tif")), folder / "slide.tif")
    shutil.move(next((folder / "out").glob("*.zarr")), folder / "slide.zarr")
    shutil.move(next((folder / "out").glob("*.dzi")), folder / "slide.dzi")
    shutil.move(next((folder / "out").glob("*_files")), folder / "slide_files")
    shutil.move(folder / "out" / "dicom", folder / "dicom")
    for number, path in enumerate(sorted((folder / "dicom").glob("*.dcm"), key=lambda path: -path.stat().st_size)):
        path.rename(folder / "dicom" / f"{number}.dcm")


def _read_fields(folder: Path) -> None:
    fields = FieldsFolder(folder / "fields")
    fields.check()
    for record in fields.records:
        fields.frame(record)
        fields.small(record)
    fields.positions_digest()


def _read_registration(folder: Path) -> None:
    fields = FieldsFolder(folder / "fields")
    registered(fields, np.ones((*fields.header.frame_shape, 3), np.float32))


def _read_slide(name: str) -> Callable[[Path], None]:
    def read(folder: Path) -> None:
        with Slide.open(folder / name) as slide:
            for level in range(min(slide.level_count, 4)):
                slide.read_region((0, 0), level, (64, 64))
            slide.read_region((100, 60), 0, (32, 32))
            dict(slide.associated_images)
            len(slide.icc_profile)

    return read


def _stack(folder: Path) -> None:
    planes = []
    for index in range(5):
        picture = np.full((24, 32, 3), 40 + 10 * index, np.uint8)
        cv2.imwrite(str(folder / f"z{index}.png"), picture)
        planes.append({"file": f"z{index}.png", "z": float(index)})
    told = {"z_unit": "um", "best_z": 2.0, "pixel_size_um": 0.3, "na": 0.75, "magnification": 20, "slide": "s"}
    (folder / "stack.json").write_text(json.dumps({**told, "planes": planes}))


def _instrument(folder: Path) -> None:
    text = (resources.files("parfocal") / "instruments" / "paper-40x.toml").read_text()
    (folder / "microscope.toml").write_text(text)


def _devices(folder: Path) -> None:
    text = (resources.files("parfocal") / "instruments" / "paper-40x.toml").read_text()
    text = text.replace('kind = "simulated"', 'kind = "devices"').partition("[simulated]")[0]
    (folder / "microscope.toml").write_text(text + '[devices.lamp]\ndriver = "always-on"\nroles = ["lamp"]\n')


def _read_instrument(folder: Path) -> None:
    read_instrument_file(str(folder / "microscope.toml")).scan_settings()


def _calibration(folder: Path) -> None:
    from parfocal.config import open_microscope

    microscope = open_microscope("paper-40x").microscope
    figures = {"noise_sd": 1.2, "difference_floor": 0.8, "empty_sd": 1.9}
    step = {"date": "2026-05-01T00:00:00Z", "version": "0", "images": 1, "settings": {}, "figures": figures}
    calibration = Calibration(microscope=microscope.name, identity=identity_of(microscope)).model_dump(mode="json")
    (folder / "c.json").write_text(json.dumps(calibration | {"noise": step}))


def _read_calibration(folder: Path) -> None:
    from parfocal.config import open_microscope

    read_calibration(folder / "c.json", open_microscope("paper-40x").microscope)


def _recipe(name: str) -> Callable[[Path], None]:
    return lambda folder: shutil.copy(ROOT / "runs" / name, folder / "recipe.toml") and None


def _read_recipe(folder: Path) -> None:
    read_recipe(folder / "recipe.toml")


def _network(folder: Path) -> None:
    shutil.copy(shipped_network(), folder / "network.onnx")


def _readings(folder: Path) -> None:
    rows = [f"r{reader},s{slide},{how},cocci;rods" for reader in "12" for slide in "123" for how in ("glass", "40x")]
    (folder / "readings.csv").write_text("reader,slide,modality,organisms\n" + "\n".join(rows) + "\n")


def _agreement(folder: Path) -> None:
    measure_agreement(read_readings(folder / "readings.csv"), resamples=0).to_json()


def _typed_report(folder: Path) -> None:
    field = "[field]\nwidth_px = 1224\nheight_px = 1024\npixel_size_um = 0.172\n"
    counts = "[counts]\ngpc-clusters = 412\ngnb = 1\npus = 210\n[graded_in]\ncells = 'low-power'\n"
    (folder / "smear.toml").write_text(f"slide = 'K7'\nfields = 30\n{field}{counts}[answers]\ncomment = 'thick'\n")


def _form(folder: Path) -> None:
    text = (resources.files("parfocal.review") / "forms" / "gram.toml").read_text()
    (folder / "form.toml").write_text(text)


def _draft(folder: Path) -> None:
    _typed_report(folder)
    (folder / "report.json").write_text(json.dumps(read_entry(folder / "smear.toml").to_json()))


def _study_plan(folder: Path) -> None:
    design = StudyDesign("s", ("S1", "S2"), ("glass", "40x"), ("A", "B"), fields_per_slide=2, repeats=1, seed=1)
    plan = plan_study(design, {(slide, "40x"): range(5) for slide in design.slides})
    (folder / "plan.json").write_text(json.dumps(plan.to_json()))


def _read_plan(folder: Path) -> None:
    plan = StudyPlan.from_json(read_json(folder / "plan.json"))
    for reader in plan.design.readers:
        next_reading(plan, reader, {}, datetime(2026, 1, 1, tzinfo=UTC))


def _positions(folder: Path) -> None:
    lines = ["file,x_um,y_um"]
    for index in range(3):
        cv2.imwrite(str(folder / f"t{index}.png"), np.full((24, 32, 3), 90, np.uint8))
        lines.append(f"t{index}.png,{index * 8},0")
    (folder / "positions.csv").write_text("\n".join(lines) + "\n")


def _import(folder: Path) -> None:
    shutil.rmtree(folder / "made", ignore_errors=True)
    import_fields(str(folder / "*.png"), folder / "positions.csv", folder / "made", ImportSettings(0.345))


TARGETS = (
    Target("instrument", _instrument, "microscope.toml", changed_text, _read_instrument),
    Target("instrument of drivers", _devices, "microscope.toml", changed_text, _read_instrument),
    Target("calibration", _calibration, "c.json", changed_json, _read_calibration),
    Target("recipe of bands", _recipe("bands.toml"), "recipe.toml", changed_text, _read_recipe),
    Target("recipe", _recipe("paper.toml"), "recipe.toml", changed_text, _read_recipe),
    Target("network", _network, "network.onnx", damaged, lambda f: open_network(f / "network.onnx")),
    Target("stack", _stack, "stack.json", changed_json, read_stacks),
    Target("plane of a stack", _stack, "z1.png", damaged, read_stacks),
    Target("scan header", _fields, "fields/scan.json", changed_json, _read_fields),
    Target("fields", _fields, "fields/fields.jsonl", changed_lines, _read_fields),
    Target("fields with checksums", _fields, "fields/fields.jsonl", changed_sealed_lines, _read_fields),
    Target("frame", _fields, "fields/frames/f00001.jpg", damaged, _read_fields),
    Target("registration", _kept_fields, "fields/registration.json", changed_json, _read_registration),
    Target("scores", _kept_fields, "fields/scores.json", changed_json, lambda f: read_scores(f / "fields")),
    Target("report", _kept_fields, "fields/report.json", changed_json,
           lambda f: fields_in_doubt(FieldsFolder(f / "fields"))),
    Target("readings", _readings, "readings.csv", changed_text, _agreement),
    Target("report on a smear", _draft, "report.json", changed_json,
           lambda f: pdf_bytes(read_report(f / "report.json"))),
    Target("report typed in", _typed_report, "smear.toml", changed_text,
           lambda f: read_entry(f / "smear.toml").to_json()),
    Target("report form", _form, "form.toml", changed_text, lambda f: load_form(f / "form.toml")),
    Target("study plan", _study_plan, "plan.json", changed_json, _read_plan),
    Target("positions", _positions, "positions.csv", changed_text, _import),
    Target("tile to import", _positions, "t1.png", damaged, _import),
    Target("quality table", _exported, "quality.csv", changed_text, lambda f: read_csv(f / "quality.csv")),
    Target("quality parquet", _exported, "quality.parquet", damaged,
           lambda f: read_parquet(f / "quality.parquet")),
    Target("OME-TIFF", _exported, "slide.ome.tif", damaged, _read_slide("slide.ome.tif")),
    Target("TIFF", _exported, "slide.tif", damaged, _read_slide("slide.tif")),
    Target("DICOM", _exported, "dicom/0.dcm", damaged, _read_slide("dicom")),
    Target("OME-Zarr", _exported, "slide.zarr/zarr.json", changed_json, _read_slide("slide.zarr")),
    Target("OME-Zarr level", _exported, "slide.zarr/0/zarr.json", changed_json, _read_slide("slide.zarr")),
    Target("DZI", _exported, "slide.dzi", changed_text, _read_slide("slide.dzi")),
)  # fmt: skip
