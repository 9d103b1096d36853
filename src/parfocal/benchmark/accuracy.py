"""How far off networks are on the frozen simulated sets, and what focuses without training, on the same stacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from parfocal.evaluation.classical import full_stack, three_point_parabola
from parfocal.evaluation.judge import JudgedStack, judge, network_predictor, summarise
from parfocal.evaluation.metrics import Summary, wrong_direction
from parfocal.evaluation.pairing import pair_up
from parfocal.stacks.sets import read_stacks
from parfocal.stacks.stack import FocalStack

CLOSEST_UM = 2.0
_NEAR_SHARE = 1 / 5
_ANY_DELTA_U = (2.0, 3.2)

Judge = Callable[[FocalStack], JudgedStack]


@dataclass(frozen=True)
class AccuracyRow:
    """One method on one set.

    Attributes:
        method: name of the network's file, or of the method.
        protocol: name of the set.
        images: exposures that a prediction takes.
        stacks: number of stacks.
        everywhere: figures of all its fields.
        closest: figures of the fields whose true defocus is at most 2 µm.
        near_um: what counts as near in this set: a fifth of how far its stacks reach, 2 µm of ±10 at 20X/0.75 and 5 µm
            of ±25 at 40X/0.65.
        near: figures of the fields whose true defocus is at most `near_um`.
        right_beyond: share of the others that are told the right direction; None where there are none.
    """

    method: str
    protocol: str
    images: int
    stacks: int
    everywhere: Summary
    closest: Summary
    near_um: float
    near: Summary
    right_beyond: float | None

    def to_json(self) -> dict[str, object]:
        """As `parfocal benchmark accuracy --json` prints it."""
        return {
            "method": self.method,
            "protocol": self.protocol,
            "images": self.images,
            "stacks": self.stacks,
            **self.everywhere.to_json(),
            "near_um": self.near_um,
            f"within_{CLOSEST_UM:g}_um": self.closest.to_json(),
            f"within_{self.near_um:g}_um": self.near.to_json(),
            f"right_direction_beyond_{self.near_um:g}_um": self.right_beyond,
        }


def measure_accuracy(
    sets: Sequence[Path], networks: Sequence[Path], on_progress: Callable[[str, int, int], None] | None = None
) -> list[AccuracyRow]:
    """Judge networks, the three-point parabola on Brenner's score, and the full Tenengrad stack on sets of stacks.

    Args:
        sets: folders of stacks whose best focus is known.
        networks: ONNX files.
        on_progress: called with what, how many stacks are done, of how many.

    Raises:
        FileError: if a set, a frame or a network cannot be read.
        SettingsError: if a stack leaves no pair for a network.
    """
    rows = []
    for folder in sets:
        stacks = read_stacks(folder)
        for method, images, judged_by in _methods(networks, len(stacks[0].files)):
            judged = []
            for done, stack in enumerate(stacks, start=1):
                judged.append(judged_by(stack))
                if on_progress:
                    on_progress(f"{folder.name}, {method}", done, len(stacks))
            rows.append(_row(method, folder.name, images, judged, round(_NEAR_SHARE * _reach_um(stacks[0]), 1)))
    return rows


def _row(method: str, name: str, images: int, judged: Sequence[JudgedStack], near_um: float) -> AccuracyRow:
    closest, near = (summarise([stack.within(distance) for stack in judged]) for distance in (CLOSEST_UM, near_um))
    predicted = np.concatenate([stack.predicted_um for stack in judged])
    truth = np.concatenate([stack.truth_um for stack in judged])
    wrong = wrong_direction(predicted, truth, near_um)
    right = None if wrong is None else 1 - wrong
    return AccuracyRow(method, name, images, len(judged), summarise(judged), closest, near_um, near, right)


def _reach_um(stack: FocalStack) -> float:
    """How far a stack in µm reaches to either side of its middle."""
    return round((stack.z[-1] - stack.z[0]) / 2, 1)


def _methods(networks: Sequence[Path], planes: int) -> list[tuple[str, int, Judge]]:
    """Name, images and judge of each method; networks of one file name go by their folder too."""
    named = [network.name for network in networks]
    return [
        *(
            (network.name if named.count(network.name) == 1 else f"{network.parent.name}/{network.name}", 2, judged_by)
            for network, judged_by in zip(networks, map(_network, networks), strict=True)
        ),
        ("three-point parabola", 3, _parabola),
        ("full stack", planes, lambda stack: full_stack(stack, pair_up(stack, _ANY_DELTA_U))),
    ]


def _network(path: Path) -> Judge:
    make, contract, _ = network_predictor(path)
    return lambda stack: judge(stack, make, contract.delta_u)


def _parabola(stack: FocalStack) -> JudgedStack:
    return three_point_parabola(stack, pair_up(stack, _ANY_DELTA_U), _reach_um(stack))


def as_text(rows: Sequence[AccuracyRow]) -> str:
    """The rows as a table for people."""
    wide = max(len(row.protocol) for row in rows)
    lines = [
        f"{'set':{wide}} {'method':22} images  mean |error|, 95 % interval     half DOF  wrong way"
        f"  {f'within {rows[0].near_um:g} µm:':>15} error, half DOF  right way beyond"
    ]
    for row in rows:
        figures, interval = row.everywhere, "–"
        if figures.ci95:
            interval = f"{figures.ci95[0]:.2f} … {figures.ci95[1]:.2f}"
        lines.append(
            f"{row.protocol:{wide}} {row.method[:22]:22} {row.images:6}  "
            f"{_number(figures.mean_abs_error_um, '6.3f')} µm {interval:>18} "
            f"{_number(figures.within_half_dof, '9.1%')} {_number(figures.wrong_direction, '9.2%')} "
            f"{_number(row.near.mean_abs_error_um, '20.3f')} µm {_number(row.near.within_half_dof, '9.1%')} "
            f"{_number(row.right_beyond, '17.2%')}"
        )
    return "\n".join(lines)


def _number(value: float | None, form: str) -> str:
    return "–".rjust(int(form.split(".")[0])) if value is None else format(value, form)
