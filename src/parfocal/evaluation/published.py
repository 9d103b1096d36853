"""Table 1 of the paper, and what it is read beside: mean ± sd of |error| in µm on the public set."""

from __future__ import annotations

from collections.abc import Mapping

from parfocal.evaluation.metrics import Summary

Row = tuple[str, tuple[float, float] | None, tuple[float, float] | None]
"""Method, (mean, sd) of |error| on the same protocol, and on the different one."""

PUBLISHED: tuple[Row, ...] = (
    ("Jiang 2018, one image", (0.46, 0.34), (0.53, 0.59)),
    ("Rai Dastidar 2019, difference, L2", (0.22, 0.25), (0.36, 0.37)),
    ("the paper, phase 1", (0.20, 0.18), (0.25, 0.27)),
    ("the paper, phase 2", (0.19, 0.18), (0.25, 0.26)),
)


def table_1(name: str, parts: Mapping[str, Summary]) -> tuple[Row, ...]:
    """The published rows and one more.

    Args:
        name: of the predictor that was evaluated.
        parts: its figures on `same` and on `different`, or on one of them.
    """
    return (*PUBLISHED, (name, _cell(parts.get("same")), _cell(parts.get("different"))))


def _cell(summary: Summary | None) -> tuple[float, float] | None:
    if summary is None or summary.mean_abs_error_um is None or summary.sd_abs_error_um is None:
        return None
    return summary.mean_abs_error_um, summary.sd_abs_error_um
