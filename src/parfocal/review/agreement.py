"""How well reading in one way agrees with reading in another, and readers with each other (paper, section 5.3).

A reading of a slide is compared with the same reader's reference reading of it. The same set of organisms is a
*concurrence*; a proper superset is *surpassed*: a concurrence in the paper's count, a discordance in the strict one;
anything else is a *non-concurrence*. For kappa and AC1 each answer as a whole, that is the set of organisms, is one
nominal category, so that there a superset is a disagreement too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import InputError
from parfocal.review.readings import Reading
from parfocal.review.statistics import fleiss, gwet, kappa, numbered, wilson

Verdict = Literal["concurrence", "surpassed", "non-concurrence"]

_MOST_NAMED = 5


@dataclass(frozen=True)
class Comparison:
    """A reading beside the same reader's reference reading of the same slide."""

    reading: Reading
    reference: Reading

    @property
    def verdict(self) -> Verdict:
        """Whether they concur. What was non-interpretable in one way only is a non-concurrence."""
        both_told = self.reading.interpretable and self.reference.interpretable
        if self.reading.interpretable == self.reference.interpretable and not self.missed | self.added:
            return "concurrence"
        return "surpassed" if both_told and self.reading.organisms > self.reference.organisms else "non-concurrence"

    @property
    def missed(self) -> frozenset[str]:
        """Organisms in the reference reading only."""
        return self.reference.organisms - self.reading.organisms

    @property
    def added(self) -> frozenset[str]:
        """Organisms that are not in the reference reading."""
        return self.reading.organisms - self.reference.organisms


@dataclass(frozen=True)
class Concordance:
    """A share of cases that concur, with its Wilson interval."""

    concurrences: int
    count: int

    @property
    def percent(self) -> float:
        """The share, in per cent."""
        return 100 * self.concurrences / self.count

    @property
    def wilson95(self) -> tuple[float, float]:
        """Its 95 % interval, in per cent."""
        low, high = wilson(self.concurrences, self.count)
        return 100 * low, 100 * high

    def to_json(self) -> dict[str, Any]:
        """As JSON values, without the count."""
        return {"concurrences": self.concurrences, "percent": self.percent, "wilson95": list(self.wilson95)}


@dataclass(frozen=True)
class ReaderAgreement:
    """A reader's readings in one way against the reference: a row of Table 3 or 4.

    Attributes:
        reader: who.
        modality: in which way.
        comparisons: one for each slide, at least one, by slide.
    """

    reader: str
    modality: str
    comparisons: tuple[Comparison, ...]

    def number(self, verdict: Verdict) -> int:
        """How many slides came to this verdict."""
        return sum(one.verdict == verdict for one in self.comparisons)

    @property
    def lenient(self) -> Concordance:
        """The paper's count: surpassing the reference is a concurrence."""
        return Concordance(len(self.comparisons) - self.number("non-concurrence"), len(self.comparisons))

    @property
    def strict(self) -> Concordance:
        """Only the same answer is a concurrence."""
        return Concordance(self.number("concurrence"), len(self.comparisons))

    @cached_property
    def ratings(self) -> NDArray[np.intp]:
        """Answers as numbers of their categories, int (N, 2): reference, this."""
        return numbered([(one.reference.answer, one.reading.answer) for one in self.comparisons])

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        categories = int(self.ratings.max()) + 1
        return {
            "n": len(self.comparisons),
            **self.lenient.to_json(),
            "surpassed": self.number("surpassed"),
            "non_concurrences": self.number("non-concurrence"),
            "strict": self.strict.to_json(),
            "kappa": kappa(self.ratings, categories),
            "gwet_ac1": gwet(self.ratings, categories),
        }


@dataclass(frozen=True)
class AgreementBetween:
    """Readers against each other in one way of reading: on the slides that all of them read so.

    Attributes:
        modality: in which way.
        readers: at least two, in alphabetical order.
        slides: at least one, in alphabetical order.
        answers: of each slide, one for each reader.
    """

    modality: str
    readers: tuple[str, ...]
    slides: tuple[str, ...]
    answers: tuple[tuple[str, ...], ...]

    @property
    def concurring(self) -> tuple[bool, ...]:
        """Whether all gave the same answer, slide by slide."""
        return tuple(len(set(row)) == 1 for row in self.answers)

    @property
    def concordance(self) -> Concordance:
        """Share of slides on which all gave the same answer."""
        return Concordance(sum(self.concurring), len(self.slides))

    def to_json(self) -> dict[str, Any]:
        """As JSON values; `kappa` is Cohen's for two readers and Fleiss' for more."""
        ratings = numbered(self.answers)
        categories = int(ratings.max()) + 1
        of_all = fleiss(ratings, categories)
        return {
            "readers": list(self.readers),
            "n": len(self.slides),
            **self.concordance.to_json(),
            "kappa": kappa(ratings, categories) if len(self.readers) == 2 else of_all,
            "fleiss_kappa": of_all,
            "gwet_ac1": gwet(ratings, categories),
        }


def first_readings(readings: Iterable[Reading]) -> dict[tuple[str, str, str], Reading]:
    """What counts for agreement, by (reader, modality, slide), sorted: of repeats, the first."""
    kept: dict[tuple[str, str, str], Reading] = {}
    for one in readings:
        key = one.reader, one.modality, one.slide
        if key not in kept or one.repeat < kept[key].repeat:
            kept[key] = one
    return dict(sorted(kept.items()))


def agreement_with_reference(readings: Sequence[Reading], reference: str) -> tuple[ReaderAgreement, ...]:
    """Each reader's readings in each way against the same reader's reference, by reader and modality.

    Slides without a reading in some way are left out there, as in the paper, whose operator could image 29 of 32.

    Args:
        readings: of any number of readers; of repeats the first counts.
        reference: modality that the others are compared with.

    Raises:
        InputError: if there is no such modality, or a reader has no reference reading of a slide.
    """
    kept = first_readings(readings)
    known = sorted({modality for _, modality, _ in kept})
    if reference not in known:
        raise InputError(f"no reading is of the reference modality {reference!r}; there are {', '.join(known)}")
    others = [key for key in kept if key[1] != reference]
    alone = [kept[key].where for key in others if (key[0], reference, key[2]) not in kept]
    if alone:
        more = f" and {len(alone) - _MOST_NAMED} more" if len(alone) > _MOST_NAMED else ""
        raise InputError(f"no {reference} reading by the same reader for {'; '.join(alone[:_MOST_NAMED])}{more}")
    groups: dict[tuple[str, str], list[Comparison]] = {}
    for reader, modality, slide in others:
        pair = Comparison(kept[reader, modality, slide], kept[reader, reference, slide])
        groups.setdefault((reader, modality), []).append(pair)
    return tuple(ReaderAgreement(reader, modality, tuple(pairs)) for (reader, modality), pairs in groups.items())


def with_reference(readings: Iterable[Reading], reference: str) -> tuple[Reading, ...]:
    """Those of the reference and those that have one: all that a study that was broken off can tell."""
    every = tuple(readings)
    told = {(one.reader, one.slide) for one in every if one.modality == reference}
    return tuple(one for one in every if (one.reader, one.slide) in told)


def agreement_between_readers(readings: Sequence[Reading]) -> tuple[AgreementBetween, ...]:
    """Readers against each other, by modality; a way in which no slide was read by two is left out."""
    kept = first_readings(readings)
    found = []
    for modality in sorted({modality for _, modality, _ in kept}):
        slides_of: dict[str, set[str]] = {}
        for reader, how, slide in kept:
            if how == modality:
                slides_of.setdefault(reader, set()).add(slide)
        readers, slides = tuple(sorted(slides_of)), tuple(sorted(set.intersection(*slides_of.values())))
        if len(readers) > 1 and slides:
            answers = tuple(tuple(kept[reader, modality, slide].answer for reader in readers) for slide in slides)
            found.append(AgreementBetween(modality, readers, slides, answers))
    return tuple(found)


def agreement_of_pairs(readings: Sequence[Reading]) -> tuple[AgreementBetween, ...]:
    """Two readers at a time, where there are more than two: on all slides that the two read in that way."""
    readers = sorted({one.reader for one in readings})
    if len(readers) < 3:
        return ()
    found: list[AgreementBetween] = []
    for pair in combinations(readers, 2):
        found += agreement_between_readers([one for one in readings if one.reader in pair])
    return tuple(sorted(found, key=lambda one: (one.modality, one.readers)))


def discordances(agreements: Iterable[ReaderAgreement]) -> tuple[Comparison, ...]:
    """All slides for adjudication: every one without the same answer, surpassed ones too, in order."""
    return tuple(one for each in agreements for one in each.comparisons if one.verdict != "concurrence")


def reason(comparison: Comparison) -> str:
    """Why two readings of a slide do not concur, in words."""
    reading, reference = comparison.reading, comparison.reference
    for one in (reading, reference):
        if not one.interpretable and reading.answer != reference.answer:
            return f"non-interpretable in {one.modality}"
    parts = []
    if comparison.missed:
        parts.append(f"not found in {reading.modality}: {'; '.join(sorted(comparison.missed))}")
    if comparison.added:
        parts.append(f"found in {reading.modality} only: {'; '.join(sorted(comparison.added))}")
    return ", ".join(parts)
