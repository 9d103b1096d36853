"""The report on what was lost: figures that others rely on, and a benchmark that fails where a promise is broken."""

import hashlib
import json
from dataclasses import replace

import pytest

from parfocal.benchmark import faults
from parfocal.benchmark.endurance import Durability, Endured
from parfocal.benchmark.fault_outcome import Fault
from parfocal.benchmark.faults import FaultReport, as_text, run_matrix
from parfocal.benchmark.kills import Kill, Killing, compare_focus, left_aside, products
from parfocal.benchmark.painted import surface_um
from parfocal.slide.fields.records import FieldRecord
from parfocal.supervisor.overseen import oversee

KILL = Kill("scan", 1.0, 7, 0, 0, 0.1, 0, 0, 0.3, "")
FAULT = Fault("camera", "black", "recovered", "0 of 15 fields in doubt")
WORSE = replace(KILL, phase="stitch", dark_s=0.0, defocus_um=0.4, apart_um=0.7)
REPORT = FaultReport([KILL, WORSE], [FAULT], Durability(9.0, 6.0, 0.5))


def test_it_has_the_keys_that_others_rely_on():
    values = json.loads(json.dumps(REPORT.to_json(), allow_nan=False))
    assert values["kills"] == 2
    assert {values[key] for key in ("lost", "duplicated", "lamp_left_on", "out_of_limits")} == {0}
    assert {"device", "kind", "outcome"} <= values["faults"][0].keys()
    assert values["dark_within_s"] == 0.1
    assert (values["largest_defocus_um"], values["largest_apart_um"]) == (0.4, 0.7)
    assert not REPORT.broken_promises


@pytest.mark.parametrize(
    ("kill", "fault", "broken"),
    [
        ({"lost": 1}, {}, "lost"),
        ({}, {"lost": 2}, "lost"),
        ({"duplicated": 1}, {}, "duplicated"),
        ({"dark_s": 2.1}, {}, "lamp left on"),
        ({}, {"lamp_left_on": True}, "lamp left on"),
        ({"failure": "no focus found"}, {}, "not gone on with"),
        ({"verdicts": 1}, {}, "other verdicts"),
        ({"error_px": 1.1}, {}, "misplaced"),
        ({"changed": 1}, {}, "changed"),
        ({"leftovers": 2}, {}, "leftovers"),
        ({}, {"failure": "1 fields are missing"}, "not gone on with"),
        ({}, {"out_of_limits": 1}, "out of limits"),
        ({"z_off": 1}, {}, "other focus"),
        ({}, {"outcome": "unnoticed"}, "unnoticed"),
        ({}, {"outcome": "traceback"}, "traceback"),
    ],
)
def test_every_promise_that_is_broken_is_named(kill, fault, broken):
    assert FaultReport([replace(KILL, **kill)], [replace(FAULT, **fault)]).broken_promises == [broken]


@pytest.mark.parametrize(
    ("measured", "broken"),
    [
        ({"durability": Durability(11.1, 8.0, 1.0)}, ["the writer's time: 11.1 ms, 11 ms at most"]),
        ({"durability": Durability(900.0, 8.0, 1.0), "timed": False}, []),
        ({"endured": Endured(1000, 300.0, 321.0, 0, 7000, 60.0)}, ["memory: 21 MiB more at the end, 20 MiB at most"]),
        ({"endured": Endured(1000, 300.0, 310.0, 2, 7000, 60.0)}, ["damaged in the long scan"]),
        ({"endured": Endured(1000, 300.0, 320.0, 0, 7000, 60.0)}, []),
    ],
)
def test_time_and_memory_have_their_limits_too(measured, broken):
    assert replace(REPORT, **measured).broken_promises == broken


def test_for_people_it_says_each_in_words():
    text = as_text(replace(REPORT, endured=Endured(1000, 300.0, 310.0, 0, 7000, 60.0)))
    assert "2 kills, 14 fields on disk then: 0 lost, 0 twice" in text
    assert "0 with another focus, 0.40 µm from best focus at most" in text
    assert "1 faults: 1 recovered" in text
    assert "310 MiB at the end" in text


def test_a_broken_promise_is_exit_code_3(parfocal, monkeypatch):
    monkeypatch.setattr(faults, "measure_faults", lambda *_, **__: FaultReport([replace(KILL, lost=1)]))
    code, out, err = parfocal("benchmark", "faults", "--quick", "--json")
    assert code == 3
    assert json.loads(out)["lost"] == 1
    assert "not as promised: lost" in err


def test_the_quick_matrix_is_a_part_of_each_device(tmp_path, network, monkeypatch):
    for name in ("run_device_case", "run_disk_case", "run_network_case"):
        monkeypatch.setattr(faults, name, lambda case, *_: replace(FAULT, device=getattr(case, "device", "files")))
    quick, full = (run_matrix(tmp_path, network, quick=quick, progress=lambda *_: None) for quick in (True, False))
    assert {fault.device for fault in quick} == {fault.device for fault in full}
    assert len(full) >= 6 * 12
    assert len(quick) <= len(full) / 4


def test_slides_and_exports_are_compared_byte_for_byte_and_what_is_half_written_is_found(tmp_path):
    folder, export = tmp_path / "killed", tmp_path / "killed-exported"
    folder.mkdir()
    export.mkdir()
    assert (products(folder), left_aside(folder)) == ({}, [])
    (folder / "slide.ome.tif").write_bytes(b"slide")
    (export / "slide.tif").write_bytes(b"export")
    made = products(folder)
    assert set(made) == {"slide", "export"}
    (export / "slide.tif").write_bytes(b"expert")
    assert products(folder) == made | {"export": hashlib.sha256(b"expert").hexdigest()}
    for half in (folder / "slide.ome.tif.part", export / ".parfocal-x.part"):
        half.touch()
        assert half in left_aside(folder)


def test_the_focus_is_compared_by_where_the_stage_truly_stood_whatever_it_counts():
    def taken(defocus_um, zero_um=0.0, x_um=100.0):
        z_um = surface_um(x_um, -50.0) + defocus_um
        return FieldRecord(3, 0, 3, x_um, -50.0, z_um - zero_um, "focused", 1, true_stage_um=(x_um, -50.0, z_um))

    pairs = [(taken(0.5, zero_um=12.0), taken(-0.3)), (taken(-0.7, x_um=120.0), taken(0.1)), (taken(0.9), taken(0.8))]
    assert compare_focus(pairs, 0.6) == (1, pytest.approx(0.9), pytest.approx(0.8))
    assert compare_focus([], 0.6) == (0, 0.0, 0.0)


@pytest.mark.slow
def test_what_was_on_disk_survives_a_kill_while_it_scans_and_while_it_stitches(tmp_path):
    kills = Killing(tmp_path, oversee, seed=1).run(2, lambda *_: None)
    assert [kill.phase for kill in kills] == ["scan", "stitch"]
    assert not FaultReport(kills).broken_promises
    assert kills[1].durable == 15
    assert (kills[0].defocus_um > 0) == (kills[0].durable < 15)
