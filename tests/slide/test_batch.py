"""Many scans at once: each comes out as it would alone, and one that fails holds up nobody."""

from __future__ import annotations

import importlib.util
import json
import shutil
from functools import partial

import pytest

from parfocal.cli.exporting import _export_one, _into_folder, _stitch_one
from parfocal.errors import FileError, SettingsError
from parfocal.slide import batch
from parfocal.slide.batch import run_many, scans_in
from parfocal.slide.export import export
from parfocal.slide.formats.destinations import FORMATS


@pytest.fixture(scope="module")
def slides(synthetic_scan, tmp_path_factory):
    """A folder of two scans, a broken one, and something else."""
    folder = tmp_path_factory.mktemp("many") / "slides of today 🔬"
    folder.mkdir()
    for seed, name in ((21, "a"), (22, "b 2"), (23, "broken")):
        shutil.copytree(synthetic_scan(2, 2, seed=seed).folder.path, folder / name)
    (folder / "broken" / "frames" / "f00001.jpg").unlink()
    (folder / "notes").mkdir()
    return folder


def everything(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def exporting(out):
    options = {"quality": 85, "overwrite": False, "identified": False, "deidentify": False}
    return partial(_into_folder, partial(_export_one, out="", formats=FORMATS, options=options), str(out))


@pytest.fixture(scope="module")
def alone(slides, tmp_path_factory):
    """What exports in this process, one after the other, leave."""
    out = tmp_path_factory.mktemp("alone")
    for name in ("a", "b 2"):
        export(slides / name, out / name, FORMATS)
    return everything(out)


def test_the_scans_in_a_folder_are_found_by_name(slides):
    assert [scan.name for scan in scans_in([slides])] == ["a", "b 2", "broken"]
    assert scans_in([slides / "b 2", slides / "a"]) == [slides / "b 2", slides / "a"]
    assert all(scan.is_absolute() for scan in scans_in([slides]))


def test_a_folder_without_scans_and_two_of_one_name_are_refused(slides, tmp_path):
    with pytest.raises(FileError, match="notes: no fields folder, and holds none"):
        scans_in([slides / "notes"])
    shutil.copytree(slides / "a", tmp_path / "a")
    with pytest.raises(FileError, match="are alike"):
        scans_in([slides, tmp_path / "a"])


def test_without_dask_scans_follow_each_other(slides, alone, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    steps = []
    rows = run_many(exporting(tmp_path), scans_in([slides]), progress=lambda *step: steps.append(step))
    assert everything(tmp_path) == alone
    assert [row["folder"] for row in rows] == [str(slides / name) for name in ("a", "b 2", "broken")]
    assert "f00001.jpg: cannot read" in rows[2]["error"]
    assert steps == [("slides", n, 3) for n in (1, 2, 3)]
    with pytest.raises(SettingsError, match=r"pip install 'parfocal\[dask\]'"):
        run_many(exporting(tmp_path), scans_in([slides]), "tcp://127.0.0.1:1")


def test_a_scheduler_that_does_not_answer_is_named(slides, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(batch, "_ANSWER_WITHIN_S", 0.5)
    with pytest.raises(SettingsError, match="no Dask scheduler answers"):
        run_many(exporting(tmp_path), scans_in([slides]), "tcp://127.0.0.1:1")


@pytest.mark.slow
def test_a_cluster_of_processes_makes_the_same_bytes_as_one_process(slides, alone, tmp_path):
    distributed = pytest.importorskip("distributed")
    rows = run_many(exporting(tmp_path / "local"), scans_in([slides]))
    assert everything(tmp_path / "local") == alone
    assert ["error" in row for row in rows] == [False, False, True]
    assert "f00001.jpg: cannot read" in rows[2]["error"]
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        run_many(exporting(tmp_path / "remote"), scans_in([slides]), cluster.scheduler_address)
    assert everything(tmp_path / "remote") == alone


@pytest.mark.slow
def test_stitching_on_a_cluster_gives_what_stitching_alone_gives(slides, tmp_path):
    pytest.importorskip("distributed")
    copies = [tmp_path / "many" / name for name in ("a", "b 2")]
    for copy in copies:
        shutil.copytree(slides / copy.name, copy)
        shutil.copytree(slides / copy.name, tmp_path / "single" / copy.name)
        _stitch_one(tmp_path / "single" / copy.name)
    rows = run_many(_stitch_one, scans_in([tmp_path / "many"]))
    assert [row["slide"] for row in rows] == ["slide.ome.tif"] * 2
    assert everything(tmp_path / "many") == everything(tmp_path / "single")


def test_the_command_line_makes_several_slides_and_says_which_one_failed(slides, tmp_path, monkeypatch, parfocal):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)  # starting a cluster takes seconds
    code, out, error = parfocal("export", slides, "--format", "tiff", "--out", tmp_path, "--json")
    assert code == 2
    assert "1 of 3 slides could not be made" in error
    rows = json.loads(out)["slides"]
    assert [sorted(row)[0] for row in rows] == ["fields", "fields", "error"]
    assert len(list(tmp_path.glob("*/slide-*.tif"))) == 2
    assert not (tmp_path / "broken").exists()


@pytest.mark.slow
def test_quality_of_several_slides_is_reported_for_each(slides, tmp_path, monkeypatch, parfocal):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    code, out, _ = parfocal("qc", slides / "a", slides / "b 2", "--out", tmp_path, "--json")
    assert code == 0
    assert [row["folder"] for row in json.loads(out)["slides"]] == [str(slides / "a"), str(slides / "b 2")]
    for name in ("a", "b 2"):
        assert (tmp_path / name / "quality.html").is_file()
        assert parfocal("qc", slides / name, "--out", tmp_path / "alone" / name)[0] == 0
        assert (tmp_path / name / "quality.csv").read_bytes() == (
            tmp_path / "alone" / name / "quality.csv"
        ).read_bytes()
