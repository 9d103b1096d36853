"""`parfocal evaluate`: a set of stacks judged by a network, as JSON and as a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from parfocal.errors import FileError
from parfocal.evaluation.calibration import certain_share
from parfocal.evaluation.judge import JudgedStack, judge, network_predictor, summarise, votes_cast
from parfocal.evaluation.metrics import Summary
from parfocal.evaluation.published import Row, table_1
from parfocal.stacks.stack import FocalStack, Kind

OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Evaluation:
    """What was found.

    Attributes:
        kind: where the stacks come from; `recorded` for a mixture.
        network: name of the network's file.
        vote: name of the vote that `overall` uses, the one that the network scans with.
        stacks: every prediction.
        parts: names of the parts of the set, such as `same` and `different`; none where it has no parts.
        left_out: names of stacks whose label a human rejected.
    """

    kind: Kind
    network: str
    vote: str
    stacks: tuple[JudgedStack, ...]
    parts: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def overall(self) -> Summary:
        """Figures of all stacks together."""
        return summarise(self.stacks)

    @property
    def by_vote(self) -> dict[str, Summary]:
        """The same for every vote."""
        return {name: summarise(self.stacks, name) for name in votes_cast(self.stacks)}

    @property
    def by_part(self) -> dict[str, Summary]:
        """The same for every part."""
        return {part: summarise([stack for stack in self.stacks if stack.part == part]) for part in self.parts}

    @property
    def table_1(self) -> tuple[Row, ...]:
        """The paper's Table 1 with this network's row; empty for other sets than the public one."""
        return table_1(f"this network ({self.network})", self.by_part) if self.kind == "public" else ()

    def to_json(self) -> dict[str, object]:
        """As `parfocal evaluate --json` prints it."""
        result: dict[str, object] = {
            "kind": self.kind,
            "network": self.network,
            "vote": self.vote,
            "stacks": [stack.to_json() for stack in self.stacks],
            "left_out": list(self.left_out),
            "pairs_skipped": sum(stack.skipped for stack in self.stacks),
            "overall": self.overall.to_json(),
            "votes": {name: summary.to_json() for name, summary in self.by_vote.items()},
            "confidence": certain_share(self.stacks),
        }
        if self.parts:
            result["parts"] = {part: summary.to_json() for part, summary in self.by_part.items()}
        if self.table_1:
            result["table_1"] = [
                {"method": method, "same": same, "different": different} for method, same, different in self.table_1
            ]
        return result


def evaluate(
    parts: Mapping[str, Sequence[FocalStack]],
    network: Path,
    *,
    delta_planes: int | None = None,
    um_per_step: float | None = None,
    on_progress: OnProgress | None = None,
) -> Evaluation:
    """Judge a network on stacks. Stacks whose label was rejected are left out.

    Args:
        parts: stacks by the part of the set that they belong to; one part named "" for a set without parts.
        network: ONNX file.
        delta_planes: Δ as a number of planes, instead of 2 µm at 20X/0.75 or its like.
        um_per_step: µm that one step stands for, for stacks in steps.
        on_progress: called with what, how many stacks are done, how many there are.

    Raises:
        FileError: if the network or a frame cannot be read, or there is no stack.
        SettingsError: if a stack leaves no pair for this network.
    """
    every = [(part, stack) for part, stacks in parts.items() for stack in stacks]
    used = [(part, stack) for part, stack in every if stack.label_state != "rejected"]
    if not used:
        raise FileError(f"no stack to evaluate: {len(every)} found, and the labels of all were rejected")
    make, contract, vote = network_predictor(network)
    judged = []
    for done, (part, stack) in enumerate(used):
        if on_progress:
            on_progress("evaluating", done, len(used))
        judged.append(
            judge(stack, make, contract.delta_u, part=part, delta_planes=delta_planes, um_per_step=um_per_step)
        )
    if on_progress:
        on_progress("evaluating", len(used), len(used))
    kinds = {stack.kind for _, stack in used}
    return Evaluation(
        kind=kinds.pop() if len(kinds) == 1 else "recorded",
        network=network.name,
        vote=vote,
        stacks=tuple(judged),
        parts=tuple(part for part in parts if part),
        left_out=tuple(stack.name for _, stack in every if stack.label_state == "rejected"),
    )


def as_text(evaluation: Evaluation) -> str:
    """The same for people: a line for each stack, the votes, and Table 1 on the public set."""
    lines = [f"{'stack':24} pairs    rank    sign  zero, steps  mean |error|"]
    for stack in evaluation.stacks:
        line = stack.to_json()
        lines.append(
            f"{str(line['name'])[:24]:24} {line['pairs']:5} {_number(line['rank_correlation'], '7.3f')} "
            f"{_number(line['sign_accuracy'], '7.1%')} {_number(line['zero_crossing_steps'], '12.2f')} "
            f"{_number(line['mean_abs_error_um'], '10.3f')} µm"
        )
    lines += ["", f"{'vote':24} mean ± sd of |error|, µm  median  within half DOF  wrong direction  95 % interval"]
    lines += [
        _summary_line(name + (" *" if name == evaluation.vote else ""), summary)
        for name, summary in evaluation.by_vote.items()
    ]
    lines += [_summary_line(part, summary) for part, summary in evaluation.by_part.items()]
    lines.append(f"\n* the vote that {evaluation.network} is used with")
    if evaluation.table_1:
        lines += ["", f"{'Table 1, mean ± sd of |error| in µm':40} {'same':>12} {'different':>12}"]
        lines += [f"{method:40} {_cell(same):>12} {_cell(other):>12}" for method, same, other in evaluation.table_1]
    if evaluation.left_out:
        lines.append(f"left out, labels rejected: {', '.join(evaluation.left_out)}")
    return "\n".join(lines)


def _summary_line(name: str, summary: Summary) -> str:
    interval = f"{summary.ci95[0]:.3f} … {summary.ci95[1]:.3f}" if summary.ci95 else "–"
    return (
        f"{name:24} {_number(summary.mean_abs_error_um, '10.3f')} ± {_number(summary.sd_abs_error_um, '11.3f')} "
        f"{_number(summary.median_abs_error_um, '7.3f')} {_number(summary.within_half_dof, '16.1%')} "
        f"{_number(summary.wrong_direction, '16.2%')}  {interval}"
    )


def _number(value: object, form: str) -> str:
    width = int(form.split(".")[0])
    return format(value, form) if isinstance(value, float) else f"{'–':>{width}}"


def _cell(cell: tuple[float, float] | None) -> str:
    return f"{cell[0]:.2f} ± {cell[1]:.2f}" if cell else "–"
