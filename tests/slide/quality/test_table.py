"""The quality table says of each field what is known about it, and the same in every file."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from pyarrow import parquet

from parfocal.errors import FileError
from parfocal.slide.quality.files import COLUMNS, read_csv, read_parquet, write_tables
from parfocal.slide.quality.table import field_table, read_scores, write_scores
from parfocal.slide.registration.register import register

MEASURED = {"focus_um": 1.25, "focus_sd_um": 0.04, "expected_um": 1.5, "expected_sd_um": 0.3}
EXPECTED = {"focus_um": None, "focus_sd_um": None, "expected_um": 1.5, "expected_sd_um": 0.3}


@pytest.fixture(scope="module")
def scan(synthetic_scan):
    scan = synthetic_scan(3, 3, empty=(8,), seed=4)
    records = scan.folder.records
    records[0] = replace(records[0], focus=MEASURED, stage_z_um=1.2)
    records[1] = replace(records[1], focus=EXPECTED)
    write_scores(scan.folder.path, {0: 0.02, 1: 0.4})
    return scan


@pytest.fixture(scope="module")
def registration(scan):
    return register(scan.folder, np.ones((256, 320, 3), np.float32))


@pytest.fixture(scope="module")
def table(scan, registration):
    return field_table(scan.folder, registration)


def test_there_is_a_row_for_each_field_where_it_lies_in_the_mosaic(table, scan, registration):
    assert [row.field for row in table] == [record.index for record in scan.folder.records]
    places = np.array([(row.mosaic_x_px, row.mosaic_y_px) for row in table])
    assert np.array_equal(places, registration.mosaic_xy_px)
    assert (table[0].stage_z_um, table[0].verdict, table[8].verdict) == (1.2, "focused", "empty")


def test_a_measured_focus_comes_before_an_expected_one(table):
    assert (table[0].focus_um, table[0].focus_sd_um, table[0].focus_source) == (1.25, 0.04, "measured")
    assert (table[1].focus_um, table[1].focus_sd_um, table[1].focus_source) == (1.5, 0.3, "expected")


def test_a_single_image_was_kept_where_the_focus_was_expected(table):
    assert (table[2].focus_um, table[2].focus_sd_um, table[2].focus_source) == (table[2].stage_z_um, None, "expected")


def test_where_there_is_nothing_to_focus_on_no_focus_is_known(table):
    assert (table[8].focus_um, table[8].focus_sd_um, table[8].focus_source) == (None, None, "none")


def test_the_score_is_the_probability_of_being_out_of_focus_where_that_was_asked(table):
    assert [row.score for row in table[:3]] == [0.02, 0.4, None]


def test_seams_count_for_both_fields_with_the_worst_residual_in_px_and_um(table, scan):
    middle = next(row for row in table if (row.row, row.column) == (1, 1))
    assert (middle.seams, middle.seams_accepted) == (4, 4)
    assert 0 <= middle.seam_residual_px < 0.5
    assert middle.seam_residual_um == pytest.approx(middle.seam_residual_px * scan.folder.header.pixel_size_um)


def test_a_field_that_no_seam_ties_is_an_island_without_a_residual(table):
    assert {row.island for row in table[:8]} == {0}
    empty = table[8]
    assert (empty.island, empty.seams_accepted, empty.seam_residual_px, empty.seam_residual_um) == (1, 0, None, None)


def test_parquet_and_csv_hold_the_same_to_the_last_digit(table, tmp_path):
    as_parquet, as_csv = write_tables(tmp_path, table)
    assert (as_parquet.name, as_csv.name) == ("quality.parquet", "quality.csv")
    assert read_parquet(as_parquet) == read_csv(as_csv) == table
    assert sorted(path.name for path in tmp_path.iterdir()) == ["quality.csv", "quality.parquet"]


def test_other_programs_find_the_columns_by_name_with_their_units(table, tmp_path):
    as_parquet, as_csv = write_tables(tmp_path, table)
    columns = parquet.read_table(as_parquet)
    assert tuple(columns.column_names) == COLUMNS
    assert columns["score"].to_pylist()[:3] == [0.02, 0.4, None]
    assert {str(columns.schema.field(name).type) for name in ("field", "images", "island")} == {"int64"}
    with as_csv.open(newline="") as file:
        first = next(csv.DictReader(file))
    assert (first["stage_z_um"], first["focus_source"]) == ("1.2", "measured")


def test_a_scan_of_nothing_is_an_empty_table(tmp_path):
    as_parquet, as_csv = write_tables(tmp_path, ())
    assert read_parquet(as_parquet) == read_csv(as_csv) == ()


def test_an_older_scan_has_its_scores_in_its_report(tmp_path):
    (tmp_path / "report.json").write_text(json.dumps({"fields": 2, "out_of_focus": {"3": 0.25}}))
    assert read_scores(tmp_path) == {3: 0.25}
    write_scores(tmp_path, {3: 0.5})
    assert read_scores(tmp_path) == {3: 0.5}


def test_without_scores_there_are_none(tmp_path):
    assert read_scores(tmp_path) == {}
    (tmp_path / "report.json").write_text("{}")
    assert read_scores(tmp_path) == {}


@pytest.mark.parametrize("content", ["{", "[]", '{"out_of_focus": {"3": "often"}}', '{"out_of_focus": [1]}'])
def test_damaged_scores_are_refused_by_name(tmp_path, content):
    (tmp_path / "scores.json").write_text(content)
    with pytest.raises(FileError, match=r"scores\.json"):
        read_scores(tmp_path)


def test_a_file_that_is_no_quality_table_is_refused_by_name(tmp_path, table):
    for name, read in (("x.parquet", read_parquet), ("x.csv", read_csv)):
        path = tmp_path / name
        with pytest.raises(FileError, match=name):
            read(path)
        path.write_text("field,row\n1,one\n")
        with pytest.raises(FileError, match=name):
            read(path)
