"""One way of reading against another, slide by slide: exact McNemar, Tango's interval, non-inferiority, test-retest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from parfocal.errors import SettingsError
from parfocal.review.agreement import AgreementBetween, Concordance, ReaderAgreement, first_readings
from parfocal.review.readings import Reading
from parfocal.review.statistics import PairedShares, gwet, kappa, mcnemar_exact, numbered, tango_interval

_LEVELS = 5


@dataclass(frozen=True)
class PairedComparison:
    """Two ways of reading, judged on the same slides.

    Attributes:
        what: whose concordance is compared.
        first: one way.
        second: the other, of whose slides only those count that were read in the first way too.
        pairs: slides that concur in both, one or none.
    """

    what: str
    first: str
    second: str
    pairs: PairedShares

    def to_json(self, margin_percent: float | None) -> dict[str, Any]:
        """As JSON values; differences in percentage points. Non-inferior: the interval ends short of the margin."""
        low, high = (100 * end for end in tango_interval(self.pairs))
        return {
            "what": self.what,
            "first": self.first,
            "second": self.second,
            "n": self.pairs.count,
            "both": self.pairs.both,
            "first_only": self.pairs.first_only,
            "second_only": self.pairs.second_only,
            "neither": self.pairs.neither,
            "difference": 100 * self.pairs.difference,
            "tango95": [low, high],
            "mcnemar_p": mcnemar_exact(self.pairs),
            "first_non_inferior": None if margin_percent is None else low > -margin_percent,
            "second_non_inferior": None if margin_percent is None else high < margin_percent,
        }


def checked_margin(percent: float) -> float:
    """A margin in percentage points, as it came.

    Raises:
        SettingsError: if it is not between 0 and 100.
    """
    if not 0 < percent < 100:
        raise SettingsError(f"a margin of {percent:g} percentage points is not between 0 and 100")
    return percent


def compare_modalities(agreements: Sequence[ReaderAgreement], *, strict: bool) -> tuple[PairedComparison, ...]:
    """Each two ways of reading of each reader, by how they concur with the reference on the slides that both have."""
    found = []
    for first, second in combinations(agreements, 2):
        if first.reader == second.reader:
            pairs = _paired(_concurring(first, strict=strict), _concurring(second, strict=strict))
            if pairs is not None:
                found.append(PairedComparison(f"reader {first.reader}", first.modality, second.modality, pairs))
    return tuple(found)


def compare_with_glass(between: Iterable[AgreementBetween], reference: str) -> tuple[PairedComparison, ...]:
    """Do readers agree with each other in each way as well as they do in the reference, on the same slides?"""
    by_modality = {one.modality: dict(zip(one.slides, one.concurring, strict=True)) for one in between}
    if reference not in by_modality:
        return ()
    found = []
    for modality, concurring in by_modality.items():
        pairs = None if modality == reference else _paired(concurring, by_modality[reference])
        if pairs is not None:
            found.append(PairedComparison("between readers", modality, reference, pairs))
    return tuple(found)


def _concurring(agreement: ReaderAgreement, *, strict: bool) -> dict[str, bool]:
    good = {"concurrence"} if strict else {"concurrence", "surpassed"}
    return {one.reading.slide: one.verdict in good for one in agreement.comparisons}


def _paired(first: dict[str, bool], second: dict[str, bool]) -> PairedShares | None:
    slides = sorted(first.keys() & second.keys())
    return PairedShares.of([first[s] for s in slides], [second[s] for s in slides]) if slides else None


def repeatability(readings: Iterable[Reading]) -> list[dict[str, Any]]:
    """How well readers repeat themselves: the first two readings of a slide, by reader and modality, as JSON values."""
    every: dict[tuple[str, str, str], list[Reading]] = {}
    for one in readings:
        every.setdefault((one.reader, one.modality, one.slide), []).append(one)
    groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for (reader, modality, _), several in sorted(every.items()):
        if len(several) > 1:
            first, second = sorted(several, key=lambda one: one.repeat)[:2]
            groups.setdefault((reader, modality), []).append((first.answer, second.answer))
    return [_repeated(reader, modality, pairs) for (reader, modality), pairs in groups.items()]


def _repeated(reader: str, modality: str, pairs: list[tuple[str, str]]) -> dict[str, Any]:
    ratings = numbered(pairs)
    categories = int(ratings.max()) + 1
    return {
        "reader": reader,
        "modality": modality,
        "n": len(pairs),
        **Concordance(sum(a == b for a, b in pairs), len(pairs)).to_json(),
        "kappa": kappa(ratings, categories),
        "gwet_ac1": gwet(ratings, categories),
    }


def grade_agreement(readings: Iterable[Reading], reference: str) -> list[dict[str, Any]]:
    """Agreement of the grades 0 to 4+ (Table 2) with the reference, by reader, modality and organism, as JSON values.

    An organism that was not seen has grade 0; one that was seen and not graded leaves its slide out. Weights are
    quadratic: neighbouring grades nearly agree.
    """
    kept = first_readings(readings)
    organisms = sorted({name for one in kept.values() for name in one.grades})
    groups: dict[tuple[str, str, str], list[tuple[int, int]]] = {}
    for (reader, modality, slide), one in kept.items():
        before = kept.get((reader, reference, slide))
        if modality == reference or before is None:
            continue
        for organism in organisms:
            first, second = before.grade(organism), one.grade(organism)
            if first is not None and second is not None:
                groups.setdefault((reader, modality, organism), []).append((first, second))
    return [
        {
            "reader": reader,
            "modality": modality,
            "organism": organism,
            "n": len(pairs),
            "same_grade": sum(a == b for a, b in pairs),
            "weighted_kappa": kappa(pairs, _LEVELS, "quadratic"),
            "gwet_ac2": gwet(pairs, _LEVELS, "quadratic"),
        }
        for (reader, modality, organism), pairs in groups.items()
    ]
