import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parfocal.devices.approach import ApproachSettings
from parfocal.errors import SettingsError
from parfocal.focus.decision import Accept, Empty, FocusSettings, GiveUp, HalfStep, Reading, Retreat, next_move

SETTINGS = FocusSettings()
APPROACH = ApproachSettings(backlash_um=20.0, margin_um=1.0, start_below_um=8.0, take_up_um=21.0, delta_um=3.0)
NAN = math.nan


def reading(defocus_um, spread_um=0.3, **known):
    """A pair with its second image at z 0."""
    known = {"image_sd": 20.0, "pairs_taken": 1} | known
    return Reading(first_z_um=-3.0, second_z_um=0.0, defocus_um=defocus_um, spread_um=spread_um, **known)


def decide(*args, **known):
    return next_move(reading(*args, **known), SETTINGS, APPROACH)


# what was read, then the move, its target, and where the next pair begins (None: no further pair)
TABLE = [
    ("close below the focus", {"defocus_um": -2.0}, Accept, 2.0, None),
    ("at the edge of the certain range", {"defocus_um": -12.0}, Accept, 12.0, None),
    ("in focus", {"defocus_um": 0.0}, Accept, 0.0, None),
    ("above the focus by less than matters", {"defocus_um": 0.3}, Accept, -0.3, None),
    ("spread at its limit", {"defocus_um": -2.0, "spread_um": 1.0}, Accept, 2.0, None),
    ("spread too wide: half way, the pair ends there", {"defocus_um": -8.0, "spread_um": 1.1}, HalfStep, 4.0, 1.0),
    ("too far: half way", {"defocus_um": -12.1}, HalfStep, 6.05, 3.05),
    ("half way is nearer than Δ: the pair begins at z2", {"defocus_um": -2.0, "spread_um": 2.0}, HalfStep, 1.0, 0.0),
    ("above the focus: z1 at twice the travel", {"defocus_um": 5.0}, Retreat, -5.0, -10.0),
    ("just above it: the new z2 stays below", {"defocus_um": 0.4}, Retreat, -0.4, -4.4),
    ("uncertain and above: half, by retreat", {"defocus_um": 8.0, "spread_um": 1.5}, Retreat, -4.0, -8.0),
    ("far above: half, by retreat", {"defocus_um": 20.0}, Retreat, -10.0, -20.0),
    ("uncertain and in focus: another pair from z2", {"defocus_um": 0.0, "spread_um": 1.5}, HalfStep, 0.0, 0.0),
    ("one patch only", {"defocus_um": -8.0, "spread_um": NAN}, HalfStep, 4.0, 1.0),
    (
        "one patch, and an earlier pair agrees",
        {"defocus_um": -4.0, "spread_um": NAN, "previous_target_um": 4.9, "pairs_taken": 2},
        Accept,
        4.0,
        None,
    ),
    (
        "one patch, and an earlier pair disagrees",
        {"defocus_um": -8.0, "spread_um": NAN, "previous_target_um": 6.9, "pairs_taken": 2},
        HalfStep,
        4.0,
        1.0,
    ),
    (
        "the last pair settles it",
        {"defocus_um": -2.0, "pairs_taken": 4},
        Accept,
        2.0,
        None,
    ),
]


@pytest.mark.parametrize(
    ("read", "move", "target_um", "first_um"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE]
)
def test_what_follows_from_a_pair(read, move, target_um, first_um):
    decided = decide(**read)
    assert type(decided) is move
    assert decided.target_um == pytest.approx(target_um)
    assert getattr(decided, "first_um", None) == (None if first_um is None else pytest.approx(first_um))


class TestFocusBetweenTheImages:
    SETTINGS = FocusSettings(return_within_um=3.0)

    @pytest.mark.parametrize(
        ("defocus_um", "spread_um", "move"),
        [(0.4, 0.3, Accept), (3.0, 0.3, Accept), (3.1, 0.3, Retreat), (2.0, 1.1, Retreat), (-8.0, 1.1, HalfStep)],
    )
    def test_only_a_certain_one_within_reach_is_gone_back_to(self, defocus_um, spread_um, move):
        assert type(next_move(reading(defocus_um, spread_um), self.SETTINGS, APPROACH)) is move

    def test_the_paper_takes_another_pair(self):
        assert isinstance(next_move(reading(0.4), FocusSettings(), APPROACH), Retreat)


class TestOrder:
    def test_empty_comes_before_everything(self):
        assert isinstance(decide(NAN, image_sd=1.9, pairs_taken=4, budget_spent="30 s"), Empty)

    def test_a_field_at_the_empty_level_is_not_empty(self):
        assert isinstance(decide(-2.0, image_sd=2.0), Accept)

    def test_the_budget_comes_before_what_the_pair_says(self):
        assert decide(-2.0, budget_spent="30 s are used up") == GiveUp("30 s are used up")
        assert isinstance(decide(20.0, budget_spent="30 s are used up"), GiveUp)

    def test_uncertain_comes_before_accept(self):
        assert isinstance(decide(-2.0, spread_um=1.01), HalfStep)

    @pytest.mark.parametrize(("defocus_um", "spread_um"), [(-8.0, 1.5), (8.0, 0.1), (-13.0, 0.1), (-8.0, NAN)])
    def test_after_the_last_pair_nothing_asks_for_another(self, defocus_um, spread_um):
        assert not isinstance(decide(defocus_um, spread_um, pairs_taken=3), GiveUp)
        assert isinstance(decide(defocus_um, spread_um, pairs_taken=4), GiveUp)

    def test_without_a_prediction_it_gives_up(self):
        assert isinstance(decide(NAN), GiveUp)

    def test_every_move_says_why(self):
        for move in (decide(-2.0), decide(5.0), decide(-8.0, 1.5), decide(0.0, image_sd=0.0), decide(NAN)):
            assert move.reason


@given(st.floats(0.31, 60), st.floats(0, 3), st.floats(0, 30), st.floats(0, 5), st.floats(0.5, 6))
def test_a_retreat_closes_the_slack_and_ends_its_pair_below_the_target(
    defocus_um, spread_um, backlash_um, more_um, delta_um
):
    approach = ApproachSettings(
        backlash_um=backlash_um, start_below_um=8.0, take_up_um=backlash_um + 1.0 + more_um, delta_um=delta_um
    )
    move = next_move(reading(defocus_um, spread_um), SETTINGS, approach)
    assert isinstance(move, Retreat)
    travel_um = abs(move.target_um)
    assert move.target_um < 0
    assert -move.bottom_um >= backlash_um + approach.margin_um + 2 * travel_um - 1e-9
    assert move.first_um - move.bottom_um >= approach.closing_um - 1e-9
    assert move.first_um + delta_um < move.target_um
    assert move.certain == (spread_um <= SETTINGS.max_spread_um and defocus_um <= SETTINGS.max_defocus_um)


@given(st.floats(-60, 60), st.one_of(st.floats(0, 3), st.just(NAN)), st.integers(1, 4))
def test_upward_moves_never_reverse(defocus_um, spread_um, pairs_taken):
    move = decide(defocus_um, spread_um, pairs_taken=pairs_taken)
    if isinstance(move, Accept):
        assert move.target_um >= -SETTINGS.keep_within_um
    if isinstance(move, HalfStep):
        assert move.first_um >= 0
        assert move.target_um == pytest.approx(-defocus_um / 2)


def test_what_noise_and_vibration_make_of_frames_at_one_z_grows_with_contrast():
    settings = FocusSettings(difference_floor=0.6, vibration_share=0.04)
    assert settings.unmoved_sd(0.0) == pytest.approx(0.6)
    assert settings.unmoved_sd(20.0) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_pairs", 0), ("max_spread_um", 0.0), ("max_defocus_um", math.inf), ("keep_within_um", -0.1)]
    + [
        (name, -1.0)
        for name in (
            "return_within_um",
            "peak_tolerance_um",
            "clearance_um",
            "empty_sd",
            "difference_floor",
            "vibration_share",
        )
    ],
)
def test_impossible_settings_are_refused_by_name(name, value):
    with pytest.raises(SettingsError, match=name):
        FocusSettings(**{name: value})
