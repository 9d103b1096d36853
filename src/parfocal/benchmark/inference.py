"""How fast the shipped runtime answers, against torch in the same run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import SettingsError
from parfocal.focus.difference import PREPARATIONS
from parfocal.focus.predictor import open_network

PATCHES = 4
_WARM_UP = 3
_DELTA_U = 2.5


@dataclass(frozen=True)
class InferenceTimes:
    """Time of one field of four patches on one thread, median over the rounds, in ms.

    Attributes:
        preparation_ms: from four pairs of patches to what the network is shown; the same for both runtimes.
        onnxruntime_ms: the network on ONNX Runtime.
        torch_ms: the same network on torch, eager, without gradients.
        ratio: median over the rounds of torch's time over ONNX Runtime's in the same round.
        ratio_with_preparation: the same with the preparation added to both.
        rounds: how often each ran, in turn.
    """

    preparation_ms: float
    onnxruntime_ms: float
    torch_ms: float
    ratio: float
    ratio_with_preparation: float
    rounds: int


def compare_runtimes(network: Path, rounds: int = 30) -> InferenceTimes:
    """Time ONNX Runtime and torch eager in turn, both on one thread.

    Args:
        network: the ONNX file, of one of Parfocal's own architectures.
        rounds: how often.

    Raises:
        SettingsError: if torch is not installed.
        FileError: if the network cannot be used.
    """
    try:
        import torch

        from parfocal.training.band_net import BandNet
        from parfocal.training.warm_start import read_network
    except ModuleNotFoundError as error:
        raise SettingsError(f"the comparison needs {error.name}: install parfocal[train]") from error

    session, contract = open_network(network)
    prepare, size = PREPARATIONS[contract.input], contract.patch_px
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (PATCHES, 2, size, size, 3)).astype(np.uint8)

    def prepared() -> NDArray[np.float32]:
        return np.stack([prepare(first, second, _DELTA_U) for first, second in images])

    field, net = prepared(), read_network(network)
    answer = net.with_doubt if isinstance(net, BandNet) else net
    tensor, threads = torch.from_numpy(field), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            runs = (prepared, lambda: session.run(None, {contract.input: field}), lambda: answer(tensor))
            times = _in_turn(runs, rounds)
    finally:
        torch.set_num_threads(threads)
    preparing, fast, slow = times.T
    preparation_ms, onnxruntime_ms, torch_ms = (1000 * float(np.median(column)) for column in (preparing, fast, slow))
    return InferenceTimes(
        preparation_ms,
        onnxruntime_ms,
        torch_ms,
        ratio=float(np.median(slow / fast)),
        ratio_with_preparation=float(np.median((preparing + slow) / (preparing + fast))),
        rounds=rounds,
    )


def _in_turn(runs: Sequence[Callable[[], object]], rounds: int) -> NDArray[np.float64]:
    """Times (rounds, runs) in s, one after the other, so that a busy machine slows all."""
    for _ in range(_WARM_UP):
        for run in runs:
            run()
    return np.array([[_timed(run) for run in runs] for _ in range(rounds)])


def _timed(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began
