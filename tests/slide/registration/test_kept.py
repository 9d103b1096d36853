"""The registration is made once, kept beside the fields, and made anew when they change."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from parfocal.errors import FileError
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.layout import REGISTRATION_FILE
from parfocal.slide.light.flatfield import estimate_flatfield
from parfocal.slide.registration import kept as module
from parfocal.slide.registration.kept import registered, seams_of_fields
from parfocal.slide.registration.register import Registration, RegistrationSettings, Seam


@pytest.fixture
def scan(synthetic_scan):
    return synthetic_scan(2, 3, empty=(2,), seed=11)


@pytest.fixture
def compared(monkeypatch):
    """How often pictures were compared."""
    calls = []
    whole = module.register

    def register(*arguments):
        calls.append(arguments)
        return whole(*arguments)

    monkeypatch.setattr(module, "register", register)
    return calls


def ask(folder, **settings):
    return registered(folder, estimate_flatfield(folder), settings=RegistrationSettings(**settings))


def same(one, other):
    return (
        np.array_equal(one.mosaic_xy_px, other.mosaic_xy_px)
        and one.seams == other.seams
        and np.array_equal(one.component, other.component)
    )


def test_it_is_made_once(scan, compared):
    made = ask(scan.folder)
    assert same(made, ask(FieldsFolder(scan.folder.path)))
    assert len(compared) == 1


def test_the_file_tells_each_seam_in_px_and_um(scan):
    made = ask(scan.folder)
    kept = json.loads((scan.folder.path / REGISTRATION_FILE).read_text())
    assert [field["field"] for field in kept["fields"]] == [record.index for record in scan.folder.records]
    assert len(kept["seams"]) == len(made.seams) > 0
    for row, seam in zip(kept["seams"], made.seams, strict=True):
        assert row["residual_um"] == pytest.approx(seam.residual_px * scan.folder.header.pixel_size_um)
        assert (row["dx"], row["dy"], row["quality"], row["accepted"]) == (
            seam.dx,
            seam.dy,
            seam.quality,
            seam.accepted,
        )


def test_other_settings_make_it_anew(scan, compared):
    ask(scan.folder)
    ask(scan.folder, search_um=20.0)
    assert len(compared) == 2


def test_a_field_taken_again_makes_it_anew(scan, compared):
    ask(scan.folder)
    path = scan.folder.path / "fields.jsonl"
    last = json.loads(path.read_text().splitlines()[-1])
    with path.open("a") as file:
        file.write(json.dumps({**last, "attempt": 2}) + "\n")
    ask(FieldsFolder(scan.folder.path))
    assert len(compared) == 2


def test_an_exchanged_frame_makes_it_anew(scan, compared):
    ask(scan.folder)
    first, second = (scan.folder.path / record.file for record in scan.folder.records[:2])
    first.write_bytes(second.read_bytes())
    ask(scan.folder)
    assert len(compared) == 2


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"digest": 3}', "null"])
def test_a_damaged_file_is_made_anew(scan, compared, text):
    made = ask(scan.folder)
    (scan.folder.path / REGISTRATION_FILE).write_text(text)
    assert same(made, ask(scan.folder))
    assert len(compared) == 2


def test_a_missing_frame_is_named(scan):
    ask(scan.folder)
    (scan.folder.path / scan.folder.records[3].file).unlink()
    with pytest.raises(FileError, match=r"f00003\.jpg: cannot read"):
        registered(scan.folder, np.ones((256, 320, 3), np.float32))


def test_each_field_knows_its_seams_and_its_island():
    seams = (
        Seam(0, 1, 10, 0, 0.9, accepted=True, residual_px=0.2),
        Seam(1, 2, 10, 0, 0.1, accepted=False, residual_px=9.0),
        Seam(2, 3, 10, 0, 0.8, accepted=True, residual_px=0.1),
        Seam(3, 4, 10, 0, 0.8, accepted=True, residual_px=0.4),
    )
    found = Registration(np.zeros((6, 2)), seams, np.array([0, 0, 1, 1, 1, 2], np.int32))
    rows = seams_of_fields(found)
    assert [row.seams for row in rows] == [1, 2, 2, 2, 1, 0]
    assert [row.accepted for row in rows] == [1, 1, 1, 2, 1, 0]
    assert [row.residual_px for row in rows] == [0.2, 0.2, 0.1, 0.4, 0.4, None]
    assert [row.island for row in rows] == [1, 1, 0, 0, 0, 2]
    assert replace(found, component=np.array([5, 5, 7, 7, 1, 1], np.int32)).islands.tolist() == [0, 0, 1, 1, 2, 2]
