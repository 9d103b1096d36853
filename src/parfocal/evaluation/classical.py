"""Focusing without training: what the network has to beat. Distances in µm; every frame counts as a whole."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parfocal.evaluation.judge import Judged, JudgedStack
from parfocal.evaluation.pairing import Pairing
from parfocal.merit import MERITS, best_focus
from parfocal.stacks.stack import FocalStack

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FocusCurve:
    """Score of each plane of a stack.

    Attributes:
        z_um: (N,) positions, rising.
        defocus_um: (N,) true defocus of each plane; nan where nobody knows.
        score: (N,) figure of merit.
    """

    z_um: Array
    defocus_um: Array
    score: Array


def focus_curve(stack: FocalStack, um_per_z: float, merit: str) -> FocusCurve:
    """Score every plane of a stack by the merit of that name.

    Raises:
        FileError: if a plane cannot be read.
    """
    indices = range(len(stack.z))
    truth = [math.nan if stack.best_z is None else stack.defocus(i) * um_per_z for i in indices]
    scores = [MERITS[merit](stack.plane(i)) for i in indices]
    return FocusCurve(np.array(stack.z) * um_per_z, np.array(truth), np.array(scores))


def parabola_defocus(spacing: float, scores: tuple[float, float, float], farthest: float) -> float:
    """Defocus from three scores, of the image in the middle (McKay 2011).

    Near focus one over Brenner's score is a parabola over z; its lowest point is the focus.

    Args:
        spacing: distance of the images in µm.
        scores: of the lowest image, the one in the middle, and the highest.
        farthest: an estimate beyond this distance becomes it, in µm, and one without a lowest point points to the
            sharper end at this distance: the method knows no more than a direction there.
    """
    left, middle, right = (1.0 / max(score, 1e-12) for score in scores)
    curvature, slope = left + right - 2 * middle, (right - left) / 2
    if curvature <= 0:
        return math.copysign(farthest, slope)
    return float(np.clip(spacing * slope / curvature, -farthest, farthest))


def three_point_parabola(
    stack: FocalStack, pairing: Pairing, farthest_um: float, merit: str = "brenner"
) -> JudgedStack:
    """Three images Δ apart at every position of a stack: the classic, with one image more than a pair.

    The defocus is that of the image in the middle, which is known best. The method reaches about as far as the images
    are apart: 0.1 to 0.3 µm within Δ of focus, a direction beyond; `JudgedStack.within` tells the two apart.

    Args:
        stack: with its best focus.
        pairing: Δ and scale.
        farthest_um: see `parabola_defocus`.
        merit: name in `merit.MERITS`.
    """
    curve = focus_curve(stack, pairing.um_per_z, merit)
    following = dict(pairing.pairs)
    fields = []
    for first, middle in pairing.pairs:
        if middle not in following:
            continue
        last = following[middle]
        spacing_um = float(curve.z_um[last] - curve.z_um[first]) / 2
        scores = (float(curve.score[first]), float(curve.score[middle]), float(curve.score[last]))
        predicted_um = parabola_defocus(spacing_um, scores, farthest_um)
        fields.append(_judged(stack.z[middle], float(curve.defocus_um[middle]), predicted_um))
    return _stack(stack, pairing, fields)


def full_stack(stack: FocalStack, pairing: Pairing, merit: str = "tenengrad") -> JudgedStack:
    """Every plane of a stack is taken, and the peak of its focus curve told by a parabola: one field for a stack."""
    curve = focus_curve(stack, pairing.um_per_z, merit)
    peak_um = best_focus(curve.z_um, curve.score)
    nearest = int(np.argmin(np.abs(curve.z_um - peak_um)))
    predicted_um = float(curve.z_um[nearest]) - peak_um
    return _stack(stack, pairing, [_judged(stack.z[nearest], float(curve.defocus_um[nearest]), predicted_um)])


def _judged(z: float, truth_um: float, predicted_um: float) -> Judged:
    return Judged(z, truth_um, predicted_um, spread_um=math.nan, votes_um={})


def _stack(stack: FocalStack, pairing: Pairing, fields: list[Judged]) -> JudgedStack:
    step_um = float(np.median(np.diff(stack.z))) * pairing.um_per_z
    return JudgedStack(stack.name, "", step_um, pairing.half_dof_um, tuple(fields))
