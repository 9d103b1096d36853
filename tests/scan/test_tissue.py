"""Sparse fields first; then what lies between and beside those that showed something, and nothing else."""

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parfocal.scan.plan import ScanPlan
from parfocal.scan.tissue import STRIDE, TissueMap


def plan(rows, columns):
    return ScanPlan((0.0, 0.0), rows, columns, (300.0, 300.0), 0.1)


def explore(tissue, holds_tissue):
    """Visit as a scan does; the cells visited in order, sparse ones first."""
    visited = []
    for field in tissue.sparse():
        visited.append((field.row, field.column))
        tissue.learn(field, holds_tissue(field.row, field.column))
    for field in tissue.remaining():
        visited.append((field.row, field.column))
        tissue.learn(field, holds_tissue(field.row, field.column))
    return visited


def nothing(row, column):
    return False


class TestSparseFields:
    @pytest.mark.parametrize(("rows", "columns"), [(11, 16), (12, 7), (1, 9), (6, 1), (2, 2), (1, 1)])
    def test_corners_are_among_them_and_none_is_farther_than_the_stride_from_the_next(self, rows, columns):
        sparse = TissueMap(plan(rows, columns)).sparse()
        for places, last in (
            ({field.row for field in sparse}, rows - 1),
            ({field.column for field in sparse}, columns - 1),
        ):
            ordered = sorted(places)
            assert ordered[0] == 0
            assert ordered[-1] == last
            assert all(b - a <= STRIDE for a, b in pairwise(ordered))
        assert len(sparse) == len({field.row for field in sparse}) * len({field.column for field in sparse})

    def test_they_are_visited_in_a_serpentine(self):
        sparse = TissueMap(plan(11, 11)).sparse()
        assert [(field.row, field.column) for field in sparse] == [
            (0, 0), (0, 5), (0, 10), (5, 10), (5, 5), (5, 0), (10, 0), (10, 5), (10, 10),
        ]  # fmt: skip

    def test_they_are_fields_of_the_plan(self):
        whole = plan(7, 9)
        assert set(TissueMap(whole).sparse()) <= set(whole)

    def test_a_narrower_stride_gives_more_of_them(self):
        assert len(TissueMap(plan(11, 11), stride=2).sparse()) == 36


class TestRemainingFields:
    def test_where_nothing_shows_none_is_visited(self):
        tissue = TissueMap(plan(11, 11))
        assert len(explore(tissue, nothing)) == 9
        assert tissue.count() == 9

    def test_where_everything_shows_all_are_visited_once(self):
        visited = explore(TissueMap(plan(9, 12)), lambda row, column: True)
        assert len(visited) == len(set(visited)) == 9 * 12

    def test_before_anything_was_learnt_none_is_wanted(self):
        assert list(TissueMap(plan(6, 6)).remaining()) == []

    def test_everywhere_all_are_visited_in_the_plans_order(self):
        whole = plan(6, 7)
        tissue = TissueMap(whole, everywhere=True)
        seen = []
        for field in tissue.remaining():
            seen.append(field)
            tissue.learn(field, False)
        assert seen == list(whole)

    def test_a_block_of_tissue_is_visited_with_a_border_of_one_field(self):
        def block(row, column):
            return 3 <= row <= 7 and 3 <= column <= 7

        visited = set(explore(TissueMap(plan(16, 16)), block))
        border = {(row, column) for row in range(2, 9) for column in range(2, 9)}
        assert border <= visited
        sparse = {(row, column) for row in (0, 5, 10, 15) for column in (0, 5, 10, 15)}
        around = {(row, column) for row in range(11) for column in range(11)}
        assert visited <= border | sparse | around  # between the sparse field that showed some and the next ones
        assert (15, 14) not in visited

    def test_tissue_that_leads_away_from_the_sparse_fields_is_followed(self):
        def snake(row, column):
            return row == 0 or (column == 13 and row < 12)

        visited = set(explore(TissueMap(plan(16, 16)), snake))
        assert {(row, 13) for row in range(12)} <= visited

    @settings(max_examples=60, deadline=None)
    @given(
        rows=st.integers(1, 14),
        columns=st.integers(1, 14),
        seed=st.integers(0, 2**20),
        share=st.sampled_from([0.1, 0.5]),
    )
    def test_no_field_is_visited_twice_and_none_beside_tissue_that_was_seen_is_left_out(
        self, rows, columns, seed, share
    ):
        def holds(row, column):
            return math.sin(seed + 12.9898 * (row // 2) + 78.233 * (column // 3)) * 43758.5453 % 1 < share

        visited = explore(TissueMap(plan(rows, columns)), holds)
        assert len(visited) == len(set(visited))
        shown = {cell for cell in visited if holds(*cell)}
        for row, column in shown:
            for beside_row in range(max(row - 1, 0), min(row + 2, rows)):
                for beside_column in range(max(column - 1, 0), min(column + 2, columns)):
                    assert (beside_row, beside_column) in set(visited)


class TestCount:
    def test_it_is_what_is_visited_in_the_end(self):
        def block(row, column):
            return 3 <= row <= 7 and 3 <= column <= 7

        tissue = TissueMap(plan(16, 16))
        visited = explore(tissue, block)
        assert tissue.count() == len(visited)

    def test_it_grows_as_tissue_is_found(self):
        tissue = TissueMap(plan(11, 11))
        counts = []
        for field in tissue.sparse():
            tissue.learn(field, field.row == 5)
            counts.append(tissue.count())
        assert counts == sorted(counts)
        assert counts[-1] > counts[0]

    def test_everywhere_it_is_the_plan(self):
        assert TissueMap(plan(7, 8), everywhere=True).count() == 56
