"""How far off networks are on the frozen simulated sets, and what focuses without training, on the same stacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from parfocal.evaluation.classical import full_stack, three_point_parabola
from parfocal.evaluation.judge import JudgedStack, judge, network_predictor, summarise
from parfocal.evaluation.metrics import Summary
from parfocal.evaluation.pairing import pair_up
from parfocal.stacks.sets import read_stacks
from parfocal.stacks.stack import FocalStack

NEAR_UM = 2.0
_FARTHEST_UM = 10.0
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
        near: figures of the fields whose true defocus is at most 2 µm.
    """

    method: str
    protocol: str
    images: int
    stacks: int
    everywhere: Summary
    near: Summary

    def to_json(self) -> dict[str, object]:
        """As `parfocal benchmark accuracy --json` prints it."""
        return {
            "method": self.method,
            "protocol": self.protocol,
            "images": self.images,
            "stacks": self.stacks,
            **self.everywhere.to_json(),
            f"within_{NEAR_UM:g}_um": self.near.to_json(),
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
        for method, (images, judged_by) in _methods(networks, len(stacks[0].files)).items():
            judged = []
            for done, stack in enumerate(stacks, start=1):
                judged.append(judged_by(stack))
                if on_progress:
                    on_progress(f"{folder.name}, {method}", done, len(stacks))
            near = summarise([stack.within(NEAR_UM) for stack in judged])
            rows.append(AccuracyRow(method, folder.name, images, len(judged), summarise(judged), near))
    return rows


def _methods(networks: Sequence[Path], planes: int) -> dict[str, tuple[int, Judge]]:
    """Images and judge by name of the method."""
    methods: dict[str, tuple[int, Judge]] = {network.name: (2, _network(network)) for network in networks}
    methods["three-point parabola"] = 3, _parabola
    methods["full stack"] = planes, lambda stack: full_stack(stack, pair_up(stack, _ANY_DELTA_U))
    return methods


def _network(path: Path) -> Judge:
    make, contract, _ = network_predictor(path)
    return lambda stack: judge(stack, make, contract.delta_u)


def _parabola(stack: FocalStack) -> JudgedStack:
    return three_point_parabola(stack, pair_up(stack, _ANY_DELTA_U), _FARTHEST_UM)


def as_text(rows: Sequence[AccuracyRow]) -> str:
    """The rows as a table for people."""
    lines = [
        f"{'set':10} {'method':22} images  mean |error|, 95 % interval     half DOF  wrong way  within {NEAR_UM:g} µm"
    ]
    for row in rows:
        figures, interval = row.everywhere, "–"
        if figures.ci95:
            interval = f"{figures.ci95[0]:.2f} … {figures.ci95[1]:.2f}"
        lines.append(
            f"{row.protocol:10} {row.method[:22]:22} {row.images:6}  {_number(figures.mean_abs_error_um, '6.3f')} µm "
            f"{interval:>18} {_number(figures.within_half_dof, '9.1%')} {_number(figures.wrong_direction, '9.2%')} "
            f"{_number(row.near.mean_abs_error_um, '9.3f')} µm"
        )
    return "\n".join(lines)


def _number(value: float | None, form: str) -> str:
    return "–".rjust(int(form.split(".")[0])) if value is None else format(value, form)
