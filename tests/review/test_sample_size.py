"""How many slides a study needs, against the power that is counted out case by case."""

import math

import pytest
from click.testing import CliRunner
from scipy.stats import binom, multinomial

from parfocal.cli.studying import study
from parfocal.errors import SettingsError
from parfocal.review.sample_size import (
    chance_above,
    plan_size,
    slides_for_goal,
    slides_for_non_inferiority,
    slides_for_width,
)
from parfocal.review.statistics import PairedShares, tango_score, wilson

Z = 1.959963984540054


@pytest.mark.parametrize(("expected", "half_width"), [(90, 7.5), (87.5, 5), (50, 10)])
def test_the_interval_is_just_narrow_enough(expected, half_width):
    slides = slides_for_width(expected, half_width).slides
    p = expected / 100

    def half(n):
        return 100 * Z / (1 + Z * Z / n) * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))

    assert half(slides) <= half_width < half(slides - 1)


def test_the_papers_32_slides_reach_11_points_and_a_half():
    assert slides_for_width(87.5, 11.55).slides == 32


@pytest.mark.parametrize(("share", "limit", "slides"), [(0.9, 0.8, 60), (0.95, 0.9, 133), (0.7, 0.5, 31)])
def test_the_chance_of_lying_above_a_goal_is_counted_out(share, limit, slides):
    counted = sum(binom.pmf(good, slides, share) for good in range(slides + 1) if wilson(good, slides)[0] > limit)
    assert chance_above(share, limit, slides) == pytest.approx(counted, abs=1e-12)


def test_from_so_many_slides_on_the_goal_is_always_reached_with_that_power():
    slides = slides_for_goal(90, 80, 80).slides
    assert all(chance_above(0.9, 0.8, n) >= 0.8 for n in range(slides, slides + 200))
    assert chance_above(0.9, 0.8, slides - 1) < 0.8


@pytest.mark.parametrize(("margin", "discordant"), [(10, 15), (15, 30), (8, 10)])
def test_non_inferiority_is_shown_about_as_often_as_promised(margin, discordant):
    slides = slides_for_non_inferiority(margin, discordant, 80).slides
    half = discordant / 200
    reached = 0.0
    for first in range(slides + 1):
        for second in range(slides + 1 - first):
            chance = multinomial.pmf([first, second, slides - first - second], slides, [half, half, 1 - 2 * half])
            if chance > 1e-7:
                pairs = PairedShares(slides - first - second, first, second, 0)
                reached += chance * (tango_score(pairs, -margin / 100) > Z)
    assert reached == pytest.approx(0.8, abs=0.04)


def test_all_aims_together_and_the_slides_that_will_be_missing():
    size = plan_size(90, 7.5, goal=80, margin=10, discordant=15, missing=10)
    assert size["slides_read"] == max(aim["slides"] for aim in size["aims"])
    assert size["slides"] * 0.9 >= size["slides_read"] > (size["slides"] - 1) * 0.9


def test_a_validation_needs_sixty_cases_whatever_else():
    assert plan_size(90, 20)["slides"] == 60


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"expected": 100}, "expected concordance of 100"),
        ({"half_width": 0}, "half width of 0"),
        ({"half_width": 0.1}, "more than 5000 slides"),
        ({"goal": 95}, "95 % is not below the 90 %"),
        ({"goal": 89.9}, "more than 5000 slides"),
        ({"margin": 10}, "--discordant"),
        ({"margin": 0.1, "discordant": 30}, "more than 5000"),
        ({"goal": 80, "power": 100}, "power of 100"),
        ({"missing": 100}, "100 % of missing slides"),
        ({"expected": float("nan")}, "expected concordance of nan"),
    ],
)
def test_what_cannot_be_planned_is_told(arguments, told):
    with pytest.raises(SettingsError, match=told):
        plan_size(**{"expected": 90, "half_width": 7.5, **arguments})


def test_the_command_tells_each_aim():
    done = CliRunner().invoke(study, ["plan", "--goal", "80"], catch_exceptions=False)
    assert "60 slides  as many cases as a validation needs at least (CAP)" in done.stdout
    assert "14 days" in done.stdout
