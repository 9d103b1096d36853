"""How many slides a study needs, before it starts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom, norm
from statsmodels.stats.proportion import proportion_confint

from parfocal.errors import SettingsError
from parfocal.review.agreement_report import ENOUGH_CASES, WASH_OUT_DAYS
from parfocal.review.statistics import CONFIDENCE, restricted_share

MOST_SLIDES = 5000


@dataclass(frozen=True)
class Need:
    """What a study is to show, and how many slides that takes.

    Attributes:
        aim: in words.
        slides: that have to be read in both ways.
    """

    aim: str
    slides: int


def plan_size(
    expected: float,
    half_width: float,
    *,
    goal: float | None = None,
    margin: float | None = None,
    discordant: float | None = None,
    power: float = 80.0,
    missing: float = 0.0,
) -> dict[str, Any]:
    """Slides for each aim and for all of them, as JSON values.

    Args:
        expected: concordance that is expected, in per cent.
        half_width: of its 95 % interval at most, in percentage points.
        goal: concordance in per cent that the interval is to lie above; None for no such aim.
        margin: of non-inferiority of one way of reading against another, in percentage points; None for no such aim.
        discordant: per cent of slides that concur in one of the two ways only; needed with `margin`.
        power: probability of reaching an aim, in per cent.
        missing: slides that cannot be read in some way, in per cent.

    Raises:
        SettingsError: if an argument is out of its range, or an aim takes more than 5,000 slides.
    """
    if not 0 <= missing < 100:
        raise SettingsError(f"{missing:g} % of missing slides is not within 0 to 100 %")
    needs = [slides_for_width(expected, half_width)]
    if goal is not None:
        needs.append(slides_for_goal(expected, goal, power))
    if margin is not None:
        if discordant is None:
            raise SettingsError("a margin needs the share of slides that concur in one way only: --discordant")
        needs.append(slides_for_non_inferiority(margin, discordant, power))
    needs.append(Need("as many cases as a validation needs at least (CAP)", ENOUGH_CASES))
    read = max(need.slides for need in needs)
    return {
        "aims": [vars(need) for need in needs],
        "slides_read": read,
        "slides": math.ceil(read / (1 - missing / 100) - 1e-9),
        "wash_out_days": WASH_OUT_DAYS,
    }


def slides_for_width(expected: float, half_width: float) -> Need:
    """For a Wilson interval that reaches so far to either side on average, if what is expected is found (per cent)."""
    share, wanted = _share("expected concordance", expected), _share("half width", half_width)
    every = np.arange(1, MOST_SLIDES + 1)
    low, high = proportion_confint(share * every, every, alpha=1 - CONFIDENCE, method="wilson")
    enough = every[(high - low) / 2 <= wanted]
    if not enough.size:
        raise SettingsError(f"a half width of {half_width:g} points takes more than {MOST_SLIDES} slides")
    return Need(f"a concordance of {expected:g} % within ± {half_width:g} points (95 % interval)", int(enough[0]))


def slides_for_goal(expected: float, goal: float, power: float) -> Need:
    """For a Wilson interval that lies above the goal with this power, exactly, with this many slides or any more."""
    share, limit, wanted = _share("expected concordance", expected), _share("goal", goal), _share("power", power)
    if limit >= share:
        raise SettingsError(f"a goal of {goal:g} % is not below the {expected:g} % that are expected")
    every = np.arange(1, MOST_SLIDES + 1)
    short = every[chance_above(share, limit, every) < wanted]
    enough = int(short[-1]) + 1 if short.size else 1
    if enough > MOST_SLIDES:
        raise SettingsError(f"a goal of {goal:g} % at {expected:g} % takes more than {MOST_SLIDES} slides")
    return Need(f"a concordance above {goal:g} % if it is {expected:g} % (power {power:g} %)", enough)


def chance_above(share: float, limit: float, slides: ArrayLike) -> NDArray[np.float64]:
    """Probability that the 95 % Wilson interval of so many cases lies above the limit (shares, not per cent)."""
    cases = np.asarray(slides)
    z = norm.ppf((1 + CONFIDENCE) / 2)
    # The interval lies above the limit where the score test rejects it: from this count upwards.
    least = np.floor(cases * limit + z * np.sqrt(cases * limit * (1 - limit))) + 1
    return np.asarray(binom.sf(least - 1, cases, share), dtype=np.float64)


def slides_for_non_inferiority(margin: float, discordant: float, power: float) -> Need:
    """For Tango's interval to exclude a loss of the margin, if two ways concur equally often (Nam 1997; per cent)."""
    loss, apart, wanted = _share("margin", margin), _share("discordant slides", discordant), _share("power", power)
    half = apart / 2
    at_margin = restricted_share(half, half, -loss)
    spread = math.sqrt(2 * at_margin - loss * (1 + loss))
    away = float(norm.ppf((1 + CONFIDENCE) / 2)) * spread + float(norm.ppf(wanted)) * math.sqrt(apart)
    slides = math.ceil((away / loss) ** 2)
    if slides > MOST_SLIDES:
        raise SettingsError(f"a margin of {margin:g} points takes {slides} slides, more than {MOST_SLIDES}")
    aim = f"one way not worse than another by {margin:g} points, {discordant:g} % discordant (power {power:g} %)"
    return Need(aim, slides)


def _share(what: str, percent: float) -> float:
    if not 0 < percent < 100 or not np.isfinite(percent):
        raise SettingsError(f"{what} of {percent:g} is not between 0 and 100")
    return percent / 100
