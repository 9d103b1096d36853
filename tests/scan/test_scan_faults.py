"""What an instrument does wrong is noticed: the scan recovers, or says which fields are in doubt, or stops."""

from dataclasses import replace
from functools import cache

import pytest

from modelled import Outcome, modelled, paper_settings, run, with_dead_frames, with_z
from parfocal.errors import InstrumentError
from parfocal.focus.field import Eyes

SIDE = 8
FIELDS = SIDE * SIDE


@cache
def sound(seed: int) -> Outcome:
    """The scan without any fault."""
    return run(modelled("tissue", SIDE, seed), SIDE)


class TestThermalDrift:
    @staticmethod
    def drifting(um_per_minute, seed=0, policy="surface"):
        scan = modelled("tissue", SIDE, seed)
        clock = scan.microscope.clock
        settings = replace(paper_settings(), policy=policy)
        return run(with_z(scan, lambda: um_per_minute * clock.now_s / 60), SIDE, settings=settings)

    @pytest.mark.parametrize("um_per_minute", [-1.0, 1.0])
    def test_a_micrometre_a_minute_costs_nothing(self, um_per_minute):
        outcome = self.drifting(um_per_minute)
        assert outcome.share_in_focus == 1.0
        assert outcome.images_per_field < sound(0).images_per_field + 0.25

    def test_a_faster_one_costs_images_and_hardly_any_focus(self):
        outcome = self.drifting(10.0)
        assert outcome.share_in_focus >= 0.96
        assert outcome.images_per_field > sound(0).images_per_field
        assert len(outcome.unnoticed) <= 0.03 * FIELDS

    @pytest.mark.long
    def test_over_a_large_slide_a_micrometre_a_minute_costs_little(self):
        scan = modelled("tissue", 30)
        clock = scan.microscope.clock
        outcome = run(with_z(scan, lambda: clock.now_s / 60), 30)
        assert outcome.share_in_focus >= 0.99
        assert outcome.images_per_field < 1.3

    def test_the_papers_way_follows_it_from_field_to_field(self):
        assert self.drifting(5.0, policy="paper").share_in_focus >= 0.75


class TestLostSteps:
    @staticmethod
    def losing(after_fields, seed=0, lost_um=5.0):
        scan, lost = modelled("tissue", SIDE, seed), [0.0]

        def before_field(done):
            lost[0] = -lost_um if done >= after_fields else 0.0

        return run(with_z(scan, lambda: lost[0]), SIDE, before_field=before_field)

    @pytest.mark.parametrize("after_fields", [6, FIELDS // 2])
    @pytest.mark.parametrize("seed", [0, 1])
    def test_fields_after_the_loss_are_brought_back_into_focus(self, after_fields, seed):
        outcome = self.losing(after_fields, seed)
        assert outcome.stopped is None
        assert outcome.share_in_focus >= 0.98
        assert all(abs(outcome.error_um[index]) < 1.0 for index in outcome.unnoticed)  # the stage's own error
        assert outcome.images_per_field > sound(seed).images_per_field  # the surface is no longer relied upon

    def test_the_reported_focus_jumps_by_what_was_lost(self):
        outcome = self.losing(FIELDS // 2)
        measured = [record for record in outcome.attempts if record.focus["focus_um"] is not None]
        before, after = measured[:6], measured[-6:]
        jump_um = sum(r.stage_z_um for r in after) / 6 - sum(r.stage_z_um for r in before) / 6
        assert jump_um == pytest.approx(5.0, abs=2.5)  # the slide's own tilt besides


class Reversed:
    """A network whose every answer has the wrong sign."""

    def __init__(self, predictor):
        self._predictor = predictor

    def measure(self, first, second):
        return self._predictor.measure(first, second)

    def predict(self, first, second, delta_um):
        said = self._predictor.predict(first, second, delta_um)
        return replace(said, defocus_um=-said.defocus_um)


class TestPredictionsOfTheWrongSign:
    @pytest.fixture(scope="class", params=[0, 1])
    @classmethod
    def outcome(cls, request):
        scan = modelled("tissue", SIDE, request.param)
        return run(replace(scan, eyes=Eyes(Reversed(scan.eyes.predictor), scan.eyes.sharpness)), SIDE)

    def test_it_shows_in_the_verdicts(self, outcome):
        assert outcome.verdicts["unsure"] + outcome.verdicts["failed"] >= 0.75 * FIELDS
        assert len(outcome.in_doubt) >= 0.75 * FIELDS

    def test_no_field_uses_more_than_its_budget(self, outcome):
        assert outcome.took_s <= FIELDS * 2 * 30.0
        assert max(record.images for record in outcome.attempts) <= 4 * 3 + 6

    def test_no_field_out_of_focus_is_called_focused(self, outcome):
        assert not outcome.unnoticed


class TestDeadFrames:
    @pytest.fixture(scope="class", params=[0, 1])
    @classmethod
    def outcome(cls, request):
        scan, is_dead = with_dead_frames(modelled("tissue", SIDE, request.param), 0.08, request.param)
        outcome = run(scan, SIDE)
        outcome.dead = {index for index, frame in outcome.frames.items() if is_dead(frame)}
        return outcome

    def test_they_do_not_stop_the_scan_and_spoil_few_other_fields(self, outcome):
        assert outcome.stopped is None
        assert len(outcome.last) == FIELDS
        spoilt = {
            index
            for index, record in outcome.last.items()
            if record.verdict == "focused" and index not in outcome.in_focus and index not in outcome.dead
        }
        assert len(spoilt) <= 0.05 * FIELDS

    def test_every_field_has_a_verdict(self, outcome):
        assert set(outcome.verdicts) <= {"focused", "empty", "unsure", "failed"}

    def test_a_field_amid_tissue_is_not_called_empty_for_one_of_them(self, outcome):
        assert outcome.verdicts["empty"] == 0


class TestAFailingDevice:
    def test_a_stage_that_fails_stops_the_scan_with_the_lamp_off_and_the_fields_so_far(self):
        scan = modelled("tissue", SIDE)
        moves, move_to = [], scan.microscope.z.move_to

        def failing(z_um):
            moves.append(z_um)
            if len(moves) > 40:
                raise InstrumentError("the z stage does not answer")
            move_to(z_um)

        scan.microscope.z.move_to = failing
        outcome = run(scan, SIDE)
        assert outcome.stopped == "the z stage does not answer"
        assert 0 < len(outcome.last) < FIELDS
        assert set(outcome.verdicts) == {"focused"}
        assert not scan.microscope.lamp.is_on

    def test_a_stage_that_stands_still_stops_the_scan(self):
        scan = modelled("tissue", SIDE)
        scan.microscope.z._play.drive_to = lambda z_um: False
        outcome = run(scan, SIDE)
        assert "did not move" in outcome.stopped
        assert not outcome.attempts
        assert not scan.microscope.lamp.is_on
