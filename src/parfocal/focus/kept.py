"""What kept frames say about each other: neighbours show the same strip of the slide, and one may be sharper there.

Two views of one strip at different z differ in sharpness by S(d) − S(d'), S(d) = −ln(1 + bend·d²), whatever the
specimen. Together with where the surface expects the focus this gives the probability that a frame is out of focus; a
chain of comparisons reaches back to fields whose focus was measured.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.devices.base import Frame
from parfocal.focus.sharpness import Sharpness
from parfocal.focus.surface import Expectation

Array = NDArray[np.float64]
Cell = tuple[int, int]
"""(row, column) in the plan."""

_DEFOCUS_UM = np.linspace(-5.0, 5.0, 101)
_PRIOR_PARTS = ((0.85, 1.0, 0.0), (0.13, 2.0, 0.0), (0.02, 1.0, 2.0))  # share, of its deviation, at least in µm
_NOISE, _BEND_ERROR = 0.012, 0.12  # of a comparison: absolute, and as a share of what is expected
_NONSENSE = 0.01  # share of comparisons that say nothing
_STRIP_SDS_UM = (0.05, 0.2, 0.5)  # by how much objects in a strip may lie off the mean depth: candidates
_FORGET = 0.98
# Gauss–Hermite: standard deviations, weight
_OFF_SHARES = ((-math.sqrt(3), 1 / 6), (0.0, 2 / 3), (math.sqrt(3), 1 / 6))
_STRIP_FACTOR = 1.2  # the border bends more than the centre, whose objects lie at several depths
_BEND_U2 = 0.13  # bend of the average specimen, per u²
_LATEST_BENDS, _ENOUGH_BENDS = 25, 3
_ROUNDS = 4
MARGIN = 0.8  # of half the depth of field: farther out, a frame counts as out of focus
_DOUBTFUL_SD_UM = 0.45
_HELD_AT_MOST = 1500  # frames with comparisons: each comparison is a matrix of 40 kB
_ROWS_BESIDE = 3  # rows next to the one that is being taken are held in any case
FARTHEST_DOF = 1.2  # of two frames in z that are compared: beyond, both are blurred in what they share


@dataclass(frozen=True)
class Judgement:
    """What is believed about a kept frame.

    Attributes:
        defocus_um: of the frame, in µm.
        sd_um: its standard deviation in µm.
        out_of_focus: probability that it lies farther from focus than nearly half the depth of field.
        compared: with how many neighbours it was compared.
    """

    defocus_um: float
    sd_um: float
    out_of_focus: float
    compared: int


class _JudgedForGood:
    """Judgements of frames that are held no more: 32 bytes each, however large the slide."""

    _KIND = np.dtype(
        [("column", "i4"), ("defocus_um", "f8"), ("sd_um", "f8"), ("out_of_focus", "f8"), ("compared", "i4")]
    )

    def __init__(self) -> None:
        self._rows: dict[int, NDArray[np.void]] = {}

    def add(self, judged: dict[Cell, Judgement]) -> None:
        """Keep these too."""
        for row in {cell[0] for cell in judged}:
            of_row = [(cell[1], *astuple(one)) for cell, one in judged.items() if cell[0] == row]
            earlier = self._rows.get(row, np.empty(0, self._KIND))
            self._rows[row] = np.concatenate([earlier, np.array(of_row, self._KIND)])

    def forget_if_there(self, cell: Cell) -> None:
        """Drop one."""
        if cell[0] in self._rows:
            of_row = self._rows[cell[0]]
            self._rows[cell[0]] = of_row[of_row["column"] != cell[1]]

    def to_dict(self) -> dict[Cell, Judgement]:
        """All of them."""
        rows = self._rows.items()
        return {(row, column): Judgement(*one) for row, of_row in rows for column, *one in of_row.tolist()}


@dataclass
class _Node:
    z_um: float
    focus_um: float
    prior: Array
    edges: Any
    doubtful_prior: Array  # by which it is judged in the end, whatever the surface promised
    belief: Array
    messages: dict[Cell, Array] = field(default_factory=dict)
    likelihoods: dict[Cell, NDArray[np.float32]] = field(default_factory=dict)  # [own defocus, neighbour's]


class KeptFrames:
    """The kept frames of a scan, and how well each is in focus.

    Args:
        sharpness: compares two frames.
        step_px: (x, y) distance of neighbouring frames in pixels.
        unit_um: the canonical z of the lens, u, in µm.
        depth_of_field_um: total, in µm.
        arrival_error_um: standard deviation of where the stage arrives, in µm.
    """

    def __init__(
        self,
        sharpness: Sharpness,
        step_px: tuple[float, float],
        unit_um: float,
        depth_of_field_um: float,
        arrival_error_um: float,
    ) -> None:
        self._sharpness = sharpness
        self._step_px = step_px
        self._is_out = np.abs(_DEFOCUS_UM) > MARGIN * depth_of_field_um / 2
        self._arrival_um = arrival_error_um
        self._farthest_um = FARTHEST_DOF * depth_of_field_um
        self._bend = _BEND_U2 / unit_um**2
        self._bends: list[float] = []
        self._nodes: dict[Cell, _Node] = {}
        self._let_go = _JudgedForGood()
        self._compared = 0
        self._score = np.zeros(len(_STRIP_SDS_UM))

    @property
    def bend_per_um2(self) -> float | None:
        """By how much sharpness falls from the focus on this slide; None before some fields told."""
        return self._bend if len(self._bends) >= _ENOUGH_BENDS else None

    def learn_bend(self, bend_per_um2: float) -> None:
        """A field's focus curve was measured: specimens of this slide bend so."""
        self._bends.append(bend_per_um2)
        self._bend = float(np.median(self._bends[-_LATEST_BENDS:]))

    def put(
        self, cell: Cell, frame: Frame, z_um: float, focus: Expectation, between_sd_um: float, measured: bool = False
    ) -> Judgement:
        """Keep a frame and judge it by the neighbours that are kept already.

        Args:
            cell: its place in the plan.
            frame: uint8 (Y, X, 3).
            z_um: where the stage says it was taken, in µm.
            focus: where the focus is, expected or measured, in µm.
            between_sd_um: how uncertain the focus is halfway to a neighbour, were both known, in µm.
            measured: whether the focus was measured there.
        """
        sd_um = math.hypot(focus.sd_um, self._arrival_um)
        prior = self._prior(z_um - focus.z_um, sd_um)
        doubtful = prior if measured else self._prior(z_um - focus.z_um, max(sd_um, _DOUBTFUL_SD_UM))
        self.forget_if_there(cell)
        node = _Node(z_um, focus.z_um, prior, self._sharpness.edges(frame), doubtful, prior)
        self._nodes[cell] = node
        for beside in self._beside(cell):
            other = self._nodes[beside]
            if other.edges is None or abs(z_um - other.z_um) > self._farthest_um:
                continue
            apart_px = tuple((b - a) * s for a, b, s in zip(cell[::-1], beside[::-1], self._step_px, strict=True))
            difference = self._sharpness.compare(node.edges, other.edges, (apart_px[0], apart_px[1]))
            if difference is not None:
                lower_um = (node.focus_um - other.focus_um) / 2
                exact = self._likelihood(difference, lower_um, between_sd_um, prior, other.belief)
                likelihood = exact.astype(np.float32)
                self._compared += 1
                node.likelihoods[beside], other.likelihoods[cell] = likelihood, likelihood.T
                node.messages[beside] = _normalised(likelihood @ other.belief)
        node.belief = _believed(node)
        self._forget_edges(cell)
        judgement = self.judgement(cell)
        if self._compared > 2 * _HELD_AT_MOST:
            self._let_go_before(cell[0] - _ROWS_BESIDE)
        return judgement

    def forget_if_there(self, cell: Cell) -> None:
        """Drop a frame, if one is kept there: another one will take its place."""
        self._let_go.forget_if_there(cell)
        node = self._nodes.pop(cell, None)
        if node is None:
            return
        for beside in node.likelihoods:
            self._nodes[beside].likelihoods.pop(cell, None)
            self._nodes[beside].messages.pop(cell, None)

    def judgement(self, cell: Cell) -> Judgement:
        """What is believed about a frame now."""
        node = self._nodes[cell]
        mean_um = float(node.belief @ _DEFOCUS_UM)
        variance_um2 = float(node.belief @ (_DEFOCUS_UM - mean_um) ** 2)
        out_of_focus = float(node.belief @ self._is_out)
        sd_um = math.sqrt(variance_um2)
        return Judgement(mean_um, sd_um, out_of_focus, len(node.messages))

    def settle(self) -> dict[Cell, Judgement]:
        """Let all frames hear what later ones said (belief propagation); what is believed about each then.

        Frames that were let go of are told of as they were believed in then, and hear nothing new.
        """
        return self._let_go.to_dict() | self._settle_held()

    def _settle_held(self) -> dict[Cell, Judgement]:
        for node in self._nodes.values():
            node.prior = node.doubtful_prior
        for _ in range(_ROUNDS):
            heard = {
                cell: {
                    **{beside: told for beside, told in node.messages.items() if beside not in node.likelihoods},
                    **{
                        beside: _normalised(likelihood @ _believed(self._nodes[beside], but=cell))
                        for beside, likelihood in node.likelihoods.items()
                    },
                }
                for cell, node in self._nodes.items()
            }
            for cell, messages in heard.items():
                self._nodes[cell].messages = messages
                self._nodes[cell].belief = _believed(self._nodes[cell])
        return {cell: self.judgement(cell) for cell in self._nodes}

    def _let_go_before(self, row: int) -> None:
        """Judge the frames of earlier rows for good, and keep no more of them: a slide may have any number of them."""
        before = {cell: (node.prior, node.messages, node.belief) for cell, node in self._nodes.items()}
        judged = self._settle_held()
        for cell, (prior, messages, belief) in before.items():
            node = self._nodes[cell]
            settled, node.prior, node.messages, node.belief = node.messages, prior, messages, belief
            if cell[0] >= row:  # it goes on hearing what those that go have told it
                node.messages |= {beside: told for beside, told in settled.items() if beside[0] < row}
        gone = [cell for cell in self._nodes if cell[0] < row]
        self._let_go.add({cell: judged[cell] for cell in gone})
        for cell in gone:
            for beside in self._nodes.pop(cell).likelihoods:
                if beside in self._nodes:
                    del self._nodes[beside].likelihoods[cell]
        self._compared = sum(len(node.likelihoods) for node in self._nodes.values()) // 2

    def _beside(self, cell: Cell) -> list[Cell]:
        row, column = cell
        beside = [(row, column - 1), (row, column + 1), (row - 1, column), (row + 1, column)]
        return [other for other in beside if other in self._nodes]

    def _forget_edges(self, cell: Cell) -> None:
        """Frames that have been compared on all four sides need not be held in memory any more."""
        for seen in (cell, *self._beside(cell)):
            if len(self._beside(seen)) == 4:
                self._nodes[seen].edges = None

    def _prior(self, defocus_um: float, sd_um: float) -> Array:
        """As the surface expects, with tails: it is now and then wrong by more than it says."""
        away_um = _DEFOCUS_UM - defocus_um
        return np.asarray(
            sum(
                share * _normalised(np.exp(-0.5 * (away_um / max(least_um, wider * sd_um)) ** 2))
                for share, wider, least_um in _PRIOR_PARTS
            )
        )

    def _likelihood(self, difference: float, lower_um: float, between_sd_um: float, own: Array, others: Array) -> Array:
        """Of a comparison, for each defocus of the frame (rows) and of its neighbour (columns).

        How far objects in a strip lie off the mean depth is a matter of the specimen: candidates count by how probable
        the comparisons so far were under them, given what was believed about both frames.

        Args:
            difference: in ln sharpness.
            lower_um: half of how much higher the focus of the frame is, in µm: halfway between the two the strip lies.
            between_sd_um: standard deviation of the relief there, in µm.
            own: belief about the frame.
            others: belief about the neighbour.
        """
        each = [
            self._likelihood_off(difference, lower_um, math.hypot(between_sd_um, strip_sd_um))
            for strip_sd_um in _STRIP_SDS_UM
        ]
        evidence = np.array([float(own @ likelihood @ others) for likelihood in each])
        self._score = _FORGET * self._score + np.log(evidence)
        weights = np.exp(self._score - self._score.max())
        weights /= weights.sum()
        return np.asarray(sum(weight * likelihood for weight, likelihood in zip(weights, each, strict=True)))

    def _likelihood_off(self, difference: float, lower_um: float, off_sd_um: float) -> Array:
        """The same, the strip `off_sd_um` from where it should lie."""
        total = np.full((_DEFOCUS_UM.size, _DEFOCUS_UM.size), _NONSENSE)
        for off_sds, share in _OFF_SHARES:
            own = self._falls_to(_DEFOCUS_UM + lower_um + off_sds * off_sd_um)
            others = self._falls_to(_DEFOCUS_UM - lower_um + off_sds * off_sd_um)
            expected = own[:, None] - others[None]
            sd = np.hypot(_NOISE, _BEND_ERROR * expected)
            total += (1 - _NONSENSE) * share * np.exp(-0.5 * ((difference - expected) / sd) ** 2) / sd
        return total

    def _falls_to(self, defocus_um: Array) -> Array:
        """ln sharpness of the border at a defocus in µm, less that in focus."""
        return -np.log1p(self._bend * _STRIP_FACTOR * defocus_um**2)


def _believed(node: _Node, but: Cell | None = None) -> Array:
    """What follows from a frame's prior and from what its neighbours told, less what the neighbour `but` did."""
    belief = node.prior.copy()
    for teller, message in node.messages.items():
        if teller != but:
            belief *= message
    return _normalised(belief)


def _normalised(values: Array) -> Array:
    return np.asarray(values / max(float(values.sum()), 1e-300))
