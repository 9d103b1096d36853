"""What the counts of a report come to: means, grades, shares of a differential, and what readers are compared by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from parfocal.review.grading import Count, area_of, grade_mean, mean_count
from parfocal.review.reading_state import Answer
from parfocal.review.readings import parse_organisms
from parfocal.review.report_forms import Group, ReportForm
from parfocal.review.statistics import wilson

if TYPE_CHECKING:
    from parfocal.review.report import Report


@dataclass(frozen=True)
class Finding:
    """A count, and what it means.

    Attributes:
        key: of the item.
        title: of the item.
        count: total over all fields.
        mean: in the field that the grade is for; None where the item is not graded.
        area: title of that field.
        grade: such as "2+".
        grade_title: such as "Few".
        percent: share of the differential; None where the item belongs to none, or nothing was counted.
        wilson95: 95 % interval of that share, in per cent.
    """

    key: str
    title: str
    count: int
    mean: float | None = None
    area: str | None = None
    grade: str | None = None
    grade_title: str | None = None
    percent: float | None = None
    wilson95: tuple[float, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        values = asdict(self)
        return {**values, "wilson95": None if self.wilson95 is None else list(self.wilson95)}


def report_findings(
    form: ReportForm,
    counts: Mapping[str, int],
    fields: int | None,
    field_area_mm2: float | None,
    graded_in: Mapping[str, str],
) -> tuple[Finding, ...]:
    """Every count of a report, graded where its item has a scale, as a share where its group is a differential."""
    found = []
    for group in form.groups:
        for item in group.items:
            if item.key not in counts:
                continue
            one = Finding(item.key, item.title, counts[item.key])
            if item.scale is not None and fields is not None and field_area_mm2 is not None:
                count = Count(one.count, fields, field_area_mm2)
                one = _graded(one, form, item.scale, count, graded_in.get(item.scale))
            found.append(_shared(one, group, counts) if group.differential else one)
    return tuple(found)


def _graded(one: Finding, form: ReportForm, scale_name: str, count: Count, graded_in: str | None) -> Finding:
    scale = form.scales[scale_name]
    area = area_of(form, scale, graded_in)
    mean = count.mean_in(area)
    grade = grade_mean(mean, scale)
    return Finding(one.key, one.title, one.count, mean, area.title, grade.name, grade.title)


def _shared(one: Finding, group: Group, counts: Mapping[str, int]) -> Finding:
    total = counted(group, counts)
    if not total:
        return one
    low, high = wilson(one.count, total)
    return Finding(one.key, one.title, one.count, percent=100 * one.count / total, wilson95=(100 * low, 100 * high))


def counted(group: Group, counts: Mapping[str, int]) -> int:
    """How many were counted in a group."""
    return sum(counts.get(item.key, 0) for item in group.items)


def answer_of(report: Report) -> Answer:
    """What the report says in the agreement of readers: findings that were counted at all, graded together, and names.

    Cocci in clusters and in chains are one finding, gram-positive cocci, graded by their sum.
    """
    if not report.interpretable:
        return Answer(interpretable=False)
    organisms: set[str] = set()
    grades: dict[str, int] = {}
    for finding, keys in _by_finding(report.form).items():
        counts = [report.counts[key] for key in keys if report.counts.get(key)]
        if counts:
            organisms.add(finding.casefold())
            grade = _grade_together(report, keys[0], counts)
            if grade is not None:
                grades[finding.casefold()] = grade
    for item in report.form.items():
        if item.kind == "names":
            organisms |= parse_organisms(report.answers.get(item.key, ""))[0]
    return Answer(frozenset(organisms), grades=grades)


def _by_finding(form: ReportForm) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for item in form.items():
        if item.finding is not None:
            found.setdefault(item.finding, []).append(item.key)
    return found


def _grade_together(report: Report, key: str, counts: list[int]) -> int | None:
    """1 to 4; None where the item has no scale of five grades."""
    scale_name = report.form.item(key).scale
    if scale_name is None or report.fields is None or report.field_area_mm2 is None:
        return None
    scale = report.form.scales[scale_name]
    area = area_of(report.form, scale, report.graded_in.get(scale_name))
    every = [Count(count, report.fields, report.field_area_mm2) for count in counts]
    place = scale.grades.index(grade_mean(mean_count(every, area), scale))
    return place if len(scale.grades) == 5 and place else None
