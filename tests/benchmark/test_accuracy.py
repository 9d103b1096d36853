"""The comparison on frozen sets: which rows there are, and that each is judged on the same stacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from parfocal.benchmark.accuracy import as_text, measure_accuracy
from parfocal.config import shipped_network
from parfocal.errors import FileError
from parfocal.stacks.simulated import SetSettings, synthesize_stack


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("sets")
    for index in range(2):
        synthesize_stack(folder / "same", SetSettings("same", 1, "fast", (1, 1)), index)
    return measure_accuracy([folder / "same"], [shipped_network()])


def test_the_network_stands_beside_the_parabola_and_the_full_stack(rows):
    assert [(row.method, row.images) for row in rows] == [
        ("focus.onnx", 2),
        ("three-point parabola", 3),
        ("full stack", 41),
    ]
    assert {row.stacks for row in rows} == {2}


def test_figures_near_focus_stand_beside_those_over_the_whole_range(rows):
    network = rows[0]
    assert network.near.pairs < network.everywhere.pairs == 2 * 37
    assert network.everywhere.ci95[0] <= network.everywhere.mean_abs_error_um <= network.everywhere.ci95[1]


def test_the_full_stack_finds_the_focus_that_the_set_knows(rows):
    assert rows[-1].everywhere.mean_abs_error_um < 0.6  # one tile with noise; planes half a µm apart


def test_the_table_has_a_line_for_each_row(rows):
    lines = as_text(rows).splitlines()
    assert len(lines) == 1 + len(rows)
    assert "focus.onnx" in lines[1]


def test_a_folder_without_stacks_is_refused(tmp_path: Path):
    with pytest.raises(FileError, match=r"holds no stack\.json"):
        measure_accuracy([tmp_path], [shipped_network()])
