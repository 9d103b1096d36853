"""The benchmark of stitching: tiles with the promised properties, and rows that say what happened."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from parfocal.benchmark.stitching import StitchingPlan, measure
from parfocal.benchmark.tiles import BACKLASH_UM, PIXEL_UM, visit, write_tiles
from parfocal.benchmark.wrong_seams import SPECIMENS, count_wrong_seams
from parfocal.errors import FileError

SMALL = StitchingPlan(kinds=("tissue", "noise-free"), rows=2, columns=2, frame_shape=(320, 384), peer_kinds=("tissue",))


@pytest.fixture
def peer(tmp_path):
    """Make an interpreter that ignores its arguments and does this instead."""

    def make(does: str) -> Path:
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{does}\n")
        path.chmod(0o755)
        return path

    return make


def test_the_stage_errs_but_its_backlash_is_taken_out():
    tiles = visit(4, 4, (1024, 1224), 3)
    planned = np.array([(field.x_um, field.y_um) for field in tiles.plan])
    error_um = tiles.true_xy_um - planned
    error_um -= error_um.mean(axis=0)
    assert 0.5 < error_um.std() < 10
    assert np.abs(error_um).max() < BACKLASH_UM / 2
    assert tiles.plan.overlap >= 0.1


def test_tiles_of_one_place_differ_in_noise_and_stain_only(tmp_path):
    tiles = visit(1, 2, (256, 320), 1)
    made = write_tiles({kind: tmp_path / kind for kind in ("tissue", "noise-free", "nearly-blank")}, tiles, 1)
    tissue, clean, faint = (folder.frame(folder.records[0]).astype(float)[..., 1] for folder in (made[k] for k in made))
    assert np.corrcoef(tissue.ravel(), clean.ravel())[0, 1] > 0.98
    assert clean.std() > 10
    assert faint.std() < 0.3 * clean.std()


def test_a_sparse_smear_has_sixty_per_cent_empty_fields(tmp_path):
    tiles = visit(5, 5, (256, 320), 2)
    folder = write_tiles({"sparse": tmp_path / "sparse"}, tiles, 2)["sparse"]
    empty = [record for record in folder.records if record.verdict == "empty"]
    assert 0.5 <= len(empty) / 25 <= 0.7
    assert max(folder.frame(record).std(axis=(0, 1)).max() for record in empty) < 8  # vignetting and noise


def test_without_peers_there_are_none():
    rows = measure(SMALL)
    assert [(row.program, row.tiles) for row in rows] == [("parfocal", "tissue"), ("parfocal", "noise-free")]
    for row in rows:
        assert (row.fields, row.seams, row.accepted, row.wrong, row.islands) == (4, 4, 4, 0, 1)
        assert row.rms_error_px < 0.3
        assert row.seconds > 0


@pytest.mark.slow
def test_a_peer_that_fails_is_told_with_its_reason(peer):
    rows = measure(SMALL, peer("echo 'ValueError: no tiles' >&2; exit 1"))
    assert [row.failure for row in rows if row.program == "ashlar"] == ["ValueError: no tiles"]
    assert [row.seconds for row in rows if row.program == "multiview-stitcher"] == [None]


@pytest.mark.slow
def test_a_peer_is_judged_by_the_same_truth(peer):
    """A peer that believes the stage, and one seam that is 50 px off."""
    program = (
        "import json, sys; from pathlib import Path\n"
        "records = [json.loads(line) for line in (Path(sys.argv[3]) / 'fields.jsonl').read_text().splitlines()]\n"
        f"xy = [[r['stage_x_um'] / {PIXEL_UM}, r['stage_y_um'] / {PIXEL_UM}] for r in records]\n"
        "Path(sys.argv[4]).touch()\n"
        "print(json.dumps(dict(seconds=1.5, positions=xy, compared=4, seams=[[0, 1, xy[1][0] - xy[0][0] + 50, 0]])))\n"
    )
    script = peer("").with_name("peer.py")
    script.write_text(program)
    rows = measure(SMALL, peer(f'exec "{sys.executable}" "{script}" "$@"'))
    (ashlar,) = (row for row in rows if row.program == "ashlar")
    assert (ashlar.seconds, ashlar.seams, ashlar.accepted, ashlar.wrong) == (1.5, 4, 1, 1)
    assert ashlar.rms_error_px > 1


def test_an_interpreter_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileError, match="gone: no such interpreter"):
        measure(SMALL, tmp_path / "gone")


@pytest.mark.long
def test_no_wrong_seam_is_believed_in_two_hundred():
    counts = count_wrong_seams(200, seed=7)
    assert [count.specimen for count in counts] == list(SPECIMENS)
    assert sum(count.seams for count in counts) >= 200
    assert sum(count.wrong for count in counts) == 0
    for count in counts:
        if count.specimen != "blank":
            assert count.accepted > 0.85 * count.true_seams
