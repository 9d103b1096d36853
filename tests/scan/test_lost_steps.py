"""Steps that the x-y stage lost: what fields show of each other raises a doubt, and going back to one settles it."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from parfocal.benchmark.painted import FRAME_SHAPE, PIXEL_UM, PaintedSlide, painted_header, painted_scan, surface_um
from parfocal.devices.base import Homing
from parfocal.devices.faulty import FaultyXY, When
from parfocal.devices.watched import watched
from parfocal.errors import FileError, ScanStoppedError
from parfocal.scan.lost_steps import Comparison, StepWatch, astray, standing, suspects_of
from parfocal.scan.plan import plan_scan
from parfocal.scan.rescan import fields_in_doubt, rescan_fields
from parfocal.scan.resume import ended, resume_fields
from parfocal.scan.scanner import scan_fields
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.writer import FieldsWriter

WITHIN_UM = (30.0, 30.0)
AMID = 14  # move of x and y in the middle of the scan
HERE = Comparison(1, (3.0, -8.0), 0.9, 45.0, should_show=True)
ELSEWHERE = Comparison(2, (-76.0, 0.0), 0.95, 120.0)
CHANCE = Comparison(3, (120.0, 40.0), 0.6, 31.0)
NOTHING = Comparison(4, (9.0, 4.0), 0.3, 12.0)


@pytest.mark.parametrize(
    ("comparisons", "stands", "by"),
    [
        ([], "unknown", None),
        ([HERE], "right", HERE),
        ([HERE, ELSEWHERE], "right", HERE),
        ([NOTHING, ELSEWHERE], "off", ELSEWHERE),
        ([replace(HERE, off_um=(3.0, 31.0))], "off", replace(HERE, off_um=(3.0, 31.0))),
        ([CHANCE, NOTHING], "unknown", None),
        ([replace(NOTHING, should_show=True), CHANCE], "strange", None),
        ([Comparison(5, None)], "unknown", None),
    ],
)
def test_where_the_stage_stands_by_what_fields_show(comparisons, stands, by):
    assert standing(comparisons, WITHIN_UM) == (stands, by)


@pytest.fixture(scope="module")
def plan():
    return plan_scan((0.4, 0.2), FRAME_SHAPE, PIXEL_UM, 4.0, ((-1e4, 1e4), (-1e4, 1e4)))


def picture(x_um, y_um, contrast=1.0):
    light = PaintedSlide().field(x_um, y_um, FRAME_SHAPE, PIXEL_UM).plane(surface_um(x_um, y_um))
    noise = np.random.default_rng(abs(round(x_um * 10))).normal(0.0, 2.0, light.shape)
    return np.clip(120 + 200 * contrast * (light - 0.5) + noise, 0, 255).astype(np.uint8)


def doubts(plan, moved_um, fields=6, contrast=1.0):
    """Of each field in turn, taken `moved_um(index)` from where it should be."""
    watch = StepWatch(plan, FRAME_SHAPE, PIXEL_UM)
    seen = []
    for planned in list(plan)[:fields]:
        x_um, y_um = moved_um(planned.index)
        seen.append(watch.look(planned, picture(planned.x_um + x_um, planned.y_um + y_um, contrast), 0.0))
    return seen


def test_fields_that_meet_raise_no_doubt_and_errors_that_stitching_takes_out_neither(plan):
    assert doubts(plan, lambda index: (11.0 * (index % 2), -9.0)) == [None] * 6


def test_a_stage_that_stays_behind_shows_the_picture_before_again(plan):
    step_um = plan.step_um[0]
    *before, doubt, _, _ = doubts(plan, lambda index: (-step_um, 0.0) if index >= 3 else (0.0, 0.0))
    assert before == [None] * 3
    assert (doubt.index, doubt.suspects) == (3, (3,))
    assert doubt.off_um == pytest.approx((-step_um, 0.0), abs=1.5)
    assert "field 3 lies 76 µm (-76 in x, +0 in y) from where it should" in doubt.why


def test_a_stage_that_went_somewhere_unknown_is_in_doubt_after_three_fields(plan):
    assert [doubt is not None for doubt in doubts(plan, lambda index: (330.0, 300.0) if index >= 1 else (0, 0))] == [
        False, False, False, True, True, True,
    ]  # fmt: skip


def test_fields_with_less_in_them_than_a_cameras_own_pattern_tell_nothing(plan):
    assert doubts(plan, lambda index: (-100.0 * index, 0.0), contrast=0.05) == [None] * 6


def scanned(folder, kind=None, times=1.0, homes=False):
    """A scan of the painted slide whose x-y stage goes wrong in its middle; what it ended with, if not well."""
    scan = painted_scan(0.25, seed=5, homes=homes)
    xy = scan.microscope.xy if kind is None else FaultyXY(
        scan.microscope.xy, kind, When(call=AMID, times=times), scan.microscope.clock.spend
    )  # fmt: skip
    microscope, stopped = watched(replace(scan.microscope, xy=xy)), ""
    with FieldsWriter(folder, painted_header(scan)) as writer:
        try:
            scan_fields(
                microscope, scan.settings, scan.predictor, scan.plan, writer, lambda *_: None, scan.truth
            )  # fmt: skip
        except ScanStoppedError as error:
            stopped = str(error)
    notes = [note for note in FieldsFolder(folder).notes("lost steps", "place found again", "steps doubted")]
    return SimpleNamespace(scan=scan, folder=FieldsFolder(folder), notes=notes, stopped=stopped)


def true_offsets_um(folder):
    """(N, 2) how far each field truly lies from where it says."""
    return np.array(
        [(r.true_stage_um[0] - r.stage_x_um, r.true_stage_um[1] - r.stage_y_um) for r in folder.records]
    )  # fmt: skip


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return scanned(tmp_path_factory.mktemp("sound") / "fields")


def test_a_sound_stage_is_not_doubted(sound):
    assert (sound.notes, sound.stopped) == ([], "")


@pytest.mark.parametrize("kind", ["stuck", pytest.param("backwards", marks=pytest.mark.slow)])
def test_steps_that_are_lost_once_are_counted_and_the_fields_since_are_taken_again(tmp_path, kind):
    seen = scanned(tmp_path / "fields", kind)
    lost, found = seen.notes
    assert (lost["what"], found["what"], found["homed"]) == ("lost steps", "place found again", False)
    assert found["xy_shift_um"] == pytest.approx([-off_um for off_um in lost["off_um"]], abs=0.1)
    again = [[record.index, record.attempt - 1] for record in seen.folder.attempts if record.attempt > 1]
    assert again == lost["suspects"]
    assert np.abs(true_offsets_um(seen.folder)).max() < 15.0


def test_a_stage_that_can_is_homed(tmp_path):
    seen = scanned(tmp_path / "fields", "stuck", homes=True)
    assert isinstance(seen.scan.microscope.xy, Homing)
    assert (seen.notes[1]["homed"], seen.notes[1]["xy_shift_um"]) == (True, [0.0, 0.0])
    assert np.abs(true_offsets_um(seen.folder)).max() < 15.0


def test_a_stage_that_is_stuck_for_good_stops_the_scan_which_a_sound_one_goes_on_with(tmp_path):
    seen = scanned(tmp_path / "fields", "stuck", times=float("inf"))
    assert "the x-y stage lost steps: field 7 lies 76 µm" in seen.stopped
    assert not seen.scan.microscope.lamp.is_on
    ((index, attempt),) = seen.notes[0]["suspects"]
    scan = painted_scan(0.25, seed=6)
    resume_fields(
        watched(scan.microscope), scan.settings, scan.predictor, scan.plan, seen.folder, lambda *_: None, scan.truth
    )  # fmt: skip
    folder = FieldsFolder(seen.folder.path)
    assert {record.index: record.attempt for record in folder.records}[index] == attempt + 1
    assert len(folder.records) == len(scan.plan)
    assert np.abs(true_offsets_um(folder)).max() < 15.0


@pytest.mark.parametrize("told", [{}, {"suspects": 3}, {"suspects": [[1]]}, {"suspects": [["a", 1]]}])
def test_a_journal_that_does_not_tell_the_suspects_is_refused_in_words(told):
    folder = SimpleNamespace(path="fields", notes=lambda what: iter([{"what": what, **told}]))
    with pytest.raises(FileError, match="fields: the journal does not tell of which fields steps were lost"):
        suspects_of(folder)


class TestARescanInWhichStepsAreLost:
    """It stops, and nothing of what it took since stays."""

    STUCK_AT = 6  # move to the second of the fields that are asked for

    @pytest.fixture
    def broken_off(self, sound, tmp_path):
        folder, stopped = again(shutil.copytree(sound.folder.path, tmp_path / "fields"), (7, 8, 9), self.STUCK_AT)
        assert stopped.startswith("stopped after 2 of 3 fields: the x-y stage lost steps: field 8 lies 76 µm")
        assert astray(folder) == [8]
        assert ended(sound.folder) is not None
        assert ended(folder) is None
        return folder

    def test_a_resume_takes_them_again(self, broken_off):
        scan = painted_scan(0.25, seed=8)
        resume_fields(
            watched(scan.microscope), scan.settings, scan.predictor, scan.plan, broken_off, lambda *_: None, scan.truth
        )  # fmt: skip
        self.check(FieldsFolder(broken_off.path))

    def test_the_next_rescan_takes_them_again_whatever_it_is_asked_for(self, broken_off):
        (broken_off.path / "report.json").write_text(json.dumps({"fields_in_doubt": [9]}))
        assert fields_in_doubt(broken_off) == [8, 9]
        folder, stopped = again(broken_off.path, (2,))
        assert stopped == ""
        self.check(folder, 2)

    def check(self, folder, *others):
        assert [record.index for record in folder.attempts[-1 - len(others) :]] == [*others, 8]
        assert astray(folder) == []
        assert ended(folder) is not None
        assert np.abs(true_offsets_um(folder)).max() < 15.0


def again(path, indices, stuck_at=None):
    """The folder after a rescan by a stage that is stuck at one of its moves; what it ended with, if not well."""
    scan, stopped = painted_scan(0.25, seed=7), ""
    xy = scan.microscope.xy if stuck_at is None else FaultyXY(
        scan.microscope.xy, "stuck", When(call=stuck_at), scan.microscope.clock.spend
    )  # fmt: skip
    microscope, folder = watched(replace(scan.microscope, xy=xy)), FieldsFolder(path)
    try:
        rescan_fields(
            microscope, scan.settings, scan.predictor, scan.plan, folder, indices, lambda *_: None, scan.truth
        )  # fmt: skip
    except ScanStoppedError as error:
        stopped = str(error)
    return FieldsFolder(path), stopped
