"""A study of three slides in two modalities and on glass, and two readers who read it."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
from reviewing import Server, post, token_on

from parfocal.review.accounts.roles import Role
from parfocal.review.database.tables import SheetRow, StudyRow
from parfocal.slide.fields.photographs import PhotographSettings, import_photographs
from parfocal.slide.fields.records import FieldRecord, FieldsHeader
from parfocal.slide.fields.writer import FieldsWriter
from parfocal.slide.formats.description import SlideDescription
from parfocal.slide.formats.dzi import write_dzi
from parfocal.slide.formats.ome_tiff import write_ome_tiff
from parfocal.slide.pyramid import Pyramid, level_shapes

SLIDES = ("S-2026-0001", "S-2026-0002", "S-2026-0003")
MODALITIES = ("automated-40x", "manual-100x")
FIELDS = 2
READERS = ("raj", "mia")


def write_slides(folder: Path) -> None:
    """Scans of 2 × 2 fields and three photographs of each slide; names, sizes and scales that tell what they are."""
    for number, slide in enumerate(SLIDES):
        _write_scan(folder / f"doe-{number}-scan", slide, number)
        files = []
        for index in range(3):
            pixels = np.random.default_rng([number, index]).integers(0, 256, (90, 96, 3), np.uint8)
            path = folder / f"photo-{number}-{index}.jpg"
            path.write_bytes(cv2.imencode(".jpg", pixels)[1].tobytes())
            files.append(path)
        settings = PhotographSettings("manual-100x", slide, 0.1, specimen="pus of a finger")
        import_photographs(files, folder / f"doe-{number}-by-hand", settings)
        for path in files:
            path.unlink()


def _write_scan(path: Path, slide: str, seed: int) -> None:
    header = FieldsHeader(
        version="0.1.0",
        seed=1,
        microscope="bench-three",
        specimen="pus of a finger",
        pixel_size_um=0.16,
        frame_shape=(90, 120),
        magnification=40,
        na=0.65,
        immersion_index=1.0,
        depth_of_field_um=1.9,
        rows=2,
        columns=2,
        overlap=0.1,
        slide_id=slide,
        scan_id=f"{seed:032x}",
    )
    with FieldsWriter(path, header) as writer:
        for index in range(4):
            frame = np.random.default_rng([seed, 9, index]).integers(0, 256, (90, 120, 3), np.uint8)
            verdict = "empty" if index == 3 else "focused"
            writer.put(FieldRecord(index, index // 2, index % 2, index * 17.0, 0.0, 0.0, verdict, 2), frame)


SECRETS = (*SLIDES, *MODALITIES, "doe-", "by-hand", "photo-", "bench-three", "pus of a finger", f"{1:032x}")
"""What no reader may come across."""


WHOLE = {  # (side along x, along y, µm per px, JPEG quality, kind of file) by slide and modality: no two are alike
    (SLIDES[0], "automated-20x"): (700, 500, 0.5, 60, "ome.tif"),
    (SLIDES[0], "automated-40x"): (900, 300, 0.25, 95, "dzi"),
    (SLIDES[1], "automated-20x"): (258, 514, 0.55, 85, "dzi"),
    (SLIDES[1], "automated-40x"): (400, 640, 0.22, 75, "ome.tif"),
}
WHOLE_SECRETS = (*SLIDES, "automated", "doe-", "bench-three", "pus of a finger", ".tif", ".dzi")


def write_whole_slides(folder: Path) -> None:
    """Two slides, each scanned in two ways, in files of other sizes, scales, qualities and kinds."""
    for (slide, modality), (width, height, pixel_um, quality, kind) in WHOLE.items():
        description = SlideDescription(
            "pus of a finger", "bench-three", pixel_um, float(modality[10:12]), 0.65, 1.0, "Parfocal"
        )
        noise = np.random.default_rng([width, height]).integers(0, 256, (height, width, 3), np.uint8)
        picture = np.asarray(cv2.GaussianBlur(noise, (0, 0), 3), np.uint8)
        shapes = level_shapes((height, width))
        with Pyramid(shapes, folder, quality) as pyramid:
            pyramid.build(lambda x, y, w, h, all_of_it=picture: all_of_it[y : y + h, x : x + w])
            write = write_ome_tiff if kind == "ome.tif" else write_dzi
            write(folder / f"doe-{slide[-1]}-{modality}.{kind}", pyramid, description)


def whole_study(server: Server, **more: str) -> Study:
    """A running study of whole slides."""
    told: dict[str, str] = {"shows": "whole"}
    for shelved in server.services.shelf.slides():
        _, slide, modality = shelved.place.partition(".")[0].split("-", 2)
        told |= {f"slide-{shelved.id}": f"S-2026-000{slide}", f"modality-{shelved.id}": modality}
    show = [shelved.id for shelved in server.services.shelf.slides()]
    return Study(server, show=show, **told, **more)


class Study:
    """A running study on a server, with its lead and readers.

    Args:
        server: without accounts.
        wash_out_days: of the design.
        start: whether to start it.
        more: further fields of the form.
    """

    def __init__(self, server: Server, wash_out_days: float = 0, *, start: bool = True, **more: str) -> None:
        self.server = server
        server.add("root", Role.ADMIN)
        self.lead = server.signed_in("lena", Role.LEAD)
        self.readers = {name: server.signed_in(name) for name in READERS}
        self.answer = self.propose(wash_out_days=str(wash_out_days), **more)
        self.id = self.answer.headers.get("location", "").rpartition("/")[2]
        self.path = f"/studies/{self.id}"
        if start and self.id:
            started = self.send("start")
            assert started.status_code == 303, started.text

    def propose(self, **more):
        """The form that makes a study, with further fields."""
        page = self.lead.get("/studies/new").text
        form = {
            "form_token": token_on(page),
            "name": "Pilot",
            "form": "gram",
            "show": re.findall(r'name="show" value="(\w+)"', page),
            "reader": list(READERS),
            "glass": "yes",
            "fields_per_slide": str(FIELDS),
            "wash_out_days": "0",
            "repeats": "0",
            "margin": "",
            "seed": "7",
            **dict(re.findall(r'name="((?:slide|modality)-\w+)"[^>]*value="([^"]*)"', page)),
            **more,
        }
        return self.lead.post("/studies", data=form)

    def send(self, what: str, **fields: str):
        """A form on the study's page, sent by the lead."""
        return post(self.lead, self.path, f"{self.path}/{what}", **fields)

    @property
    def row(self) -> StudyRow:
        with self.server.services.database.reading() as session:
            return session.get(StudyRow, self.id)

    def sheet(self, sheet_id: str) -> SheetRow:
        with self.server.services.database.reading() as session:
            return session.get(SheetRow, sheet_id)

    def case(self, sheet_id: str) -> tuple[str, str]:
        """(slide, modality) of a sheet, which only the test knows."""
        sheet = self.sheet(sheet_id)
        for one in self.row.plan["assignments"]:
            if one["code"] == sheet.code:
                return one["case"]["slide"], one["case"]["modality"]
        raise AssertionError(sheet.code)

    def begin(self, reader: str) -> str:
        """Id of the sheet that the reader reads next; nothing where there is none."""
        browser = self.readers[reader]
        answer = browser.post(f"{self.path}/next")
        assert answer.status_code == 303, answer.text
        where = answer.headers["location"]
        return where.rpartition("/")[2] if where.startswith("/sheets/") else ""

    def read(self, reader: str, sheet_id: str, **counts: int) -> None:
        """Look at everything, count, submit."""
        for number in range(len(self.sheet(sheet_id).frames)):
            picture = "tiles/0/0_0.jpg" if self.sheet(sheet_id).canvas else f"frames/{number}.jpg"
            assert self.readers[reader].get(f"/sheets/{sheet_id}/{picture}").status_code == 200
            self.enter(reader, sheet_id, what="looked", frame=number)
        frame = {"frame": 0} if self.sheet(sheet_id).frames else {}
        if not frame:
            self.enter(reader, sheet_id, what="eyepiece", fields=10, magnification=100, field_number_mm=20)
        for item, count in counts.items():
            self.enter(reader, sheet_id, what="typed", item=item.replace("_", "-"), count=count, **frame)
        answer = self.submit(reader, sheet_id)
        assert answer.status_code == 303, answer.text

    def submit(self, reader: str, sheet_id: str):
        return self.readers[reader].post(f"/sheets/{sheet_id}/submit")

    def enter(self, reader: str, sheet_id: str, key: str = "", status: int = 200, **entry):
        body = {"key": key or new_key(), "entry": entry}
        answer = self.readers[reader].post(f"/api/sheets/{sheet_id}/entries", json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def read_all(self, found) -> None:
        """Both readers read everything; `found(reader, slide, modality)` gives the counts."""
        for reader in READERS:
            while sheet_id := self.begin(reader):
                self.read(reader, sheet_id, **found(reader, *self.case(sheet_id)))


_KEYS = iter(range(10**9))


def new_key() -> str:
    return f"{next(_KEYS):032x}"
