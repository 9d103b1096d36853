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


@pytest.mark.slow
def test_the_network_stands_beside_the_parabola_and_the_full_stack(rows):
    assert [(row.method, row.images) for row in rows] == [
        ("focus.onnx", 2),
        ("three-point parabola", 3),
        ("full stack", 41),
    ]
    assert {row.stacks for row in rows} == {2}


def test_figures_near_focus_stand_beside_those_over_the_whole_range(rows):
    network = rows[0]
    assert network.closest.pairs < network.everywhere.pairs == 2 * 37
    assert network.everywhere.ci95[0] <= network.everywhere.mean_abs_error_um <= network.everywhere.ci95[1]


def test_at_20x_what_is_near_is_within_2_micrometres(rows):
    told = rows[0].to_json()
    assert {"within_2_um", "near_um", "right_direction_beyond_2_um"} <= set(told)
    assert rows[0].near == rows[0].closest
    assert rows[-1].right_beyond is None  # one field for a stack, in focus


@pytest.mark.slow
def test_at_40x_what_is_near_is_within_5_micrometres_and_the_direction_counts_beyond(tmp_path: Path):
    synthesize_stack(tmp_path / "same", SetSettings("same", 1, "fast", (1, 1), lens="40x0.65"), 0)
    network, parabola, _ = rows = measure_accuracy([tmp_path / "same"], [shipped_network()])
    assert network.everywhere.pairs == 48
    told = network.to_json()
    assert told["near_um"] == 5
    assert told["within_2_um"]["pairs"] < told["within_5_um"]["pairs"] == network.near.pairs < 13
    assert told["right_direction_beyond_5_um"] == network.right_beyond > 0.9
    assert parabola.everywhere.mean_abs_error_um > 5  # it only knows a direction far from focus, and answers 25 µm
    assert "within 5 µm" in as_text(rows)


def test_the_full_stack_finds_the_focus_that_the_set_knows(rows):
    assert rows[-1].everywhere.mean_abs_error_um < 0.6  # one tile with noise; planes half a µm apart


def test_the_table_has_a_line_for_each_row(rows):
    lines = as_text(rows).splitlines()
    assert len(lines) == 1 + len(rows)
    assert "focus.onnx" in lines[1]


def test_a_folder_without_stacks_is_refused(tmp_path: Path):
    with pytest.raises(FileError, match=r"holds no stack\.json"):
        measure_accuracy([tmp_path], [shipped_network()])
