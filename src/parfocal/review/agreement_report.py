"""The agreement of a whole study as one value: by reader, between readers, pooled, compared, and what is left open."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import SettingsError
from parfocal.review.adjudication import Adjudications, adjudicated
from parfocal.review.agreement import (
    AgreementBetween,
    Comparison,
    ReaderAgreement,
    agreement_between_readers,
    agreement_of_pairs,
    agreement_with_reference,
    discordances,
    reason,
    with_reference,
)
from parfocal.review.comparisons import (
    checked_margin,
    compare_modalities,
    compare_with_glass,
    grade_agreement,
    repeatability,
)
from parfocal.review.readings import Reading
from parfocal.review.statistics import bootstrap_interval, gwet, kappa

ENOUGH_CASES = 60
"""Cases that the College of American Pathologists asks of a validation, at least."""
WASH_OUT_DAYS = 14
"""Days between two readings of a slide that it asks for, at least."""
RESAMPLES = 1000

_WASH_OUT = f"Two readings of a slide by the same reader should be at least {WASH_OUT_DAYS} days apart (CAP); "
_CHANCE = (
    "For kappa and AC1 the whole answer is one nominal category: the same set of organisms or another. "
    "A reading that surpassed the reference is a disagreement there."
)
_RESEARCH = "Research use only: no clinical claim follows from these figures."


@dataclass(frozen=True)
class AgreementReport:
    """How well a study's readings agree.

    Attributes:
        reference: modality that the others are compared with.
        readings: all of them.
        agreements: by reader and modality.
        between: by modality, all readers together.
        pairs: two readers at a time, where there are more.
        margin_percent: of non-inferiority, set before unblinding; None if there was none.
        resamples: of the bootstrap; 0 leaves it out.
        seed: of the bootstrap.
        decided: who was right, where that was adjudicated.
        notes: remarks on how the readings came about.
        wash_out_days: that were kept between two readings of a slide by a reader; None where nobody can tell.
    """

    reference: str
    readings: tuple[Reading, ...]
    agreements: tuple[ReaderAgreement, ...]
    between: tuple[AgreementBetween, ...]
    pairs: tuple[AgreementBetween, ...] = ()
    margin_percent: float | None = None
    resamples: int = RESAMPLES
    seed: int = 1
    decided: Adjudications = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    wash_out_days: float | None = None

    @property
    def readers(self) -> tuple[str, ...]:
        """Everybody who read anything, in alphabetical order."""
        return tuple(sorted({one.reader for one in self.readings}))

    @property
    def discordances(self) -> tuple[Comparison, ...]:
        """Slides for adjudication."""
        return discordances(self.agreements)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What whoever reads the figures has to know."""
        found = list(self.notes)
        slides = len({one.slide for one in self.readings})
        if slides < ENOUGH_CASES:
            found.append(f"{slides} cases: a validation needs at least {ENOUGH_CASES} (CAP).")
        unread = _unread(self.agreements, self.readings, self.reference)
        found += [f"Reader {reader} read {n} of {of} slides in {modality}." for reader, modality, n, of in unread]
        if self.margin_percent is None:
            found.append("No margin of non-inferiority was given: it is to be set before unblinding.")
        kept = self.wash_out_days
        apart = "the readings do not tell when they were made." if kept is None else f"the server kept {kept:g} days."
        return (
            *found,
            _WASH_OUT + apart,
            _CHANCE,
            "P-values are not adjusted for how many comparisons were made.",
            _RESEARCH,
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON values; shares and their intervals in per cent. Resampled once, whoever asks again."""
        return dict(self._figures)

    @cached_property
    def _figures(self) -> dict[str, Any]:
        rows: dict[str, dict[str, Any]] = {reader: {} for reader in self.readers}
        for one in self.agreements:
            rows[one.reader][one.modality] = {**one.to_json(), **self._resampled(one)}
        return {
            "reference": self.reference,
            "slides": len({one.slide for one in self.readings}),
            "readers": rows,
            "between_readers": {one.modality: one.to_json() for one in self.between},
            "reader_pairs": [{"modality": one.modality, **one.to_json()} for one in self.pairs],
            "pooled": self._pooled(),
            "comparisons": self._compared(),
            "margin": self.margin_percent,
            "test_retest": repeatability(self.readings),
            "grades": grade_agreement(self.readings, self.reference),
            "adjudication": adjudicated(self.agreements, self.decided) if self.decided else {},
            "discordances": [discordance_json(one) for one in self.discordances],
            "bootstrap": {"resamples": self.resamples, "seed": self.seed},
            "remarks": list(self.remarks),
        }

    def _compared(self) -> list[dict[str, Any]]:
        found = []
        for count, strict in (("lenient", False), ("strict", True)):
            for one in compare_modalities(self.agreements, strict=strict):
                found.append({"count": count, **one.to_json(self.margin_percent)})
        for one in compare_with_glass(self.between, self.reference):
            found.append({"count": "strict", **one.to_json(self.margin_percent)})
        return found

    def _resampled(self, one: ReaderAgreement) -> dict[str, Any]:
        if not self.resamples:
            return {}
        ratings, categories = one.ratings, int(one.ratings.max()) + 1

        def interval(statistic: Any) -> list[float] | None:
            ends = bootstrap_interval(
                lambda drawn: statistic(ratings[drawn], categories),
                len(ratings),
                resamples=self.resamples,
                seed=self.seed,
            )
            return None if ends is None else list(ends)

        return {"kappa_bootstrap95": interval(kappa), "gwet_ac1_bootstrap95": interval(gwet)}

    def _pooled(self) -> dict[str, Any]:
        """All readers together. Readings of a slide are no independent cases: slides are resampled, not readings."""
        pooled = {}
        for modality in sorted({one.modality for one in self.agreements}):
            rows = [one for one in self.agreements if one.modality == modality]
            lenient = _by_slide(rows, ("concurrence", "surpassed"))
            strict = _by_slide(rows, ("concurrence",))
            readings = int(lenient[:, 1].sum())
            pooled[modality] = {
                "slides": len(lenient),
                "readings": readings,
                "concurrences": int(lenient[:, 0].sum()),
                "percent": _share(lenient),
                "bootstrap95": self._ends(lenient),
                "strict": {
                    "concurrences": int(strict[:, 0].sum()),
                    "percent": _share(strict),
                    "bootstrap95": self._ends(strict),
                },
            }
        return pooled

    def _ends(self, counts: NDArray[np.intp]) -> list[float] | None:
        if not self.resamples:
            return None
        ends = bootstrap_interval(
            lambda drawn: _share(counts[drawn]), len(counts), resamples=self.resamples, seed=self.seed
        )
        return None if ends is None else list(ends)


def measure_agreement(
    readings: Iterable[Reading],
    reference: str = "glass",
    *,
    margin_percent: float | None = None,
    resamples: int = RESAMPLES,
    seed: int = 1,
    decided: Adjudications | None = None,
    leave_out: bool = False,
    notes: tuple[str, ...] = (),
    wash_out_days: float | None = None,
) -> AgreementReport:
    """Compare every reader with the reference, and readers with each other (paper, section 5.3).

    Args:
        readings: in any order.
        reference: modality that the others are compared with.
        margin_percent: of non-inferiority, in percentage points.
        resamples: of the bootstrap by slide; 0 leaves it out.
        seed: of the bootstrap.
        decided: adjudications of discordances.
        leave_out: whether readings without a reference are left out, and counted in a remark, and not refused.
        notes: remarks on how the readings came about.
        wash_out_days: that were kept between two readings of a slide by a reader; None where nobody can tell.

    Raises:
        InputError: if there is no such modality, a reader has no reference reading of a slide, or something was
            adjudicated that nobody read.
        SettingsError: if the margin is not between 0 and 100, or there are too few resamples for an interval.
    """
    if margin_percent is not None:
        checked_margin(margin_percent)
    if resamples < 0 or 0 < resamples < 100:
        raise SettingsError(f"{resamples} resamples tell no 95 % interval: take 0 for none, or at least 100")
    every = tuple(sorted(readings, key=lambda one: (one.reader, one.modality, one.slide, one.repeat)))
    if leave_out:
        told = with_reference(every, reference)
        if len(told) < len(every):
            left = f"{len(every) - len(told)} of {len(every)} readings have no {reference} reading by the same reader"
            notes = (*notes, f"{left}: they are left out.")
        every = told
    agreements = agreement_with_reference(every, reference)
    between, pairs = agreement_between_readers(every), agreement_of_pairs(every)
    adjudicated(agreements, decided or {})
    return AgreementReport(
        reference,
        every,
        agreements,
        between,
        pairs,
        margin_percent,
        resamples,
        seed,
        decided or {},
        notes,
        wash_out_days,
    )


def discordance_json(one: Comparison) -> dict[str, Any]:
    """A slide for adjudication, as JSON values."""
    return {
        "reader": one.reading.reader,
        "slide": one.reading.slide,
        "modality": one.reading.modality,
        "verdict": one.verdict,
        "reference": one.reference.answer,
        "reading": one.reading.answer,
        "missed": sorted(one.missed),
        "added": sorted(one.added),
        "reason": reason(one),
    }


def _by_slide(rows: Sequence[ReaderAgreement], good: tuple[str, ...]) -> NDArray[np.intp]:
    """(concurring readings, readings) of each slide, int (slides, 2)."""
    counts: dict[str, list[int]] = {}
    for row in rows:
        for one in row.comparisons:
            pair = counts.setdefault(one.reading.slide, [0, 0])
            pair[0] += one.verdict in good
            pair[1] += 1
    return np.array([counts[slide] for slide in sorted(counts)], dtype=np.intp)


def _share(counts: NDArray[np.intp]) -> float:
    concurring, readings = counts.sum(0)
    return float(100 * concurring / readings)


def _unread(
    agreements: Iterable[ReaderAgreement], readings: Iterable[Reading], reference: str
) -> list[tuple[str, str, int, int]]:
    """(reader, modality, slides read, slides with a reference) where slides are missing."""
    of: dict[str, set[str]] = {}
    for one in readings:
        if one.modality == reference:
            of.setdefault(one.reader, set()).add(one.slide)
    every = [(one.reader, one.modality, len(one.comparisons), len(of[one.reader])) for one in agreements]
    return [row for row in every if row[2] < row[3]]
