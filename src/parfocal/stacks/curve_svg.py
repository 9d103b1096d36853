"""A figure-of-merit curve as a small drawing inside an HTML page."""

from __future__ import annotations

from html import escape

import numpy as np

from parfocal.stacks.labels import FocusLabel

_WIDTH, _HEIGHT, _FOOT, _EDGE = 480, 150, 18, 8


def draw_curve(curve: FocusLabel, z_unit: str, label_z: float | None = None) -> str:
    """SVG of a curve over z: its peak green, suspected peaks red and dashed, a label elsewhere blue."""
    span = max(float(np.ptp(curve.z)), 1e-12)

    def across(z: float) -> float:
        return round(_EDGE + (z - float(curve.z[0])) / span * (_WIDTH - 2 * _EDGE), 1)

    low, high = float(curve.score.min()), float(curve.score.max())
    tall = (curve.score - low) / max(high - low, 1e-12) * (_HEIGHT - _FOOT - 2 * _EDGE)
    points = [(across(z), round(_HEIGHT - _FOOT - _EDGE - y, 1)) for z, y in zip(curve.z, tall.tolist(), strict=True)]
    lines = [_line(across(z), "#c33", "4 3", f"suspected peak at {z:g} {z_unit}") for z in curve.suspected_z]
    lines.append(_line(across(curve.best_z), "#2a8a3e", "none", f"peak at {curve.best_z:.2f} {z_unit}"))
    if label_z is not None and abs(label_z - curve.best_z) > 0.005 * span:
        lines.append(_line(across(label_z), "#27f", "1 2", f"label at {label_z:.2f} {z_unit}"))
    dots = "".join(f'<circle cx="{x}" cy="{y}" r="2"/>' for x, y in points)
    ends = "".join(
        f'<text x="{x}" y="{_HEIGHT - 4}" text-anchor="{anchor}" font-size="12" fill="currentColor">'
        f"{escape(f'{z:g} {z_unit}')}</text>"
        for x, z, anchor in ((_EDGE, curve.z[0], "start"), (_WIDTH - _EDGE, curve.z[-1], "end"))
    )
    path = " ".join(f"{x},{y}" for x, y in points)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="sharpness over z">{"".join(lines)}'
        f'<polyline points="{path}" fill="none" stroke="currentColor" opacity="0.6"/>'
        f'<g fill="currentColor">{dots}</g>{ends}</svg>'
    )


def _line(x: float, colour: str, dashes: str, title: str) -> str:
    """An upright line with words for who points at it."""
    return (
        f'<line x1="{x}" x2="{x}" y1="2" y2="{_HEIGHT - _FOOT}" stroke="{colour}" stroke-width="2" '
        f'stroke-dasharray="{dashes}"><title>{escape(title)}</title></line>'
    )
