"""How fast the shipped runtime answers, against torch in the same run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from parfocal.errors import SettingsError
from parfocal.focus.difference import CHANNELS
from parfocal.focus.predictor import open_network

PATCHES = 4
_WARM_UP = 3


@dataclass(frozen=True)
class InferenceTimes:
    """Time of one field of four patches on one thread, median over the rounds, in ms.

    Attributes:
        onnxruntime_ms: the shipped network on ONNX Runtime.
        torch_ms: a network of the same shape on torch, eager, without gradients.
        ratio: median over the rounds of torch's time over ONNX Runtime's in the same round.
        rounds: how often each ran, in turn.
    """

    onnxruntime_ms: float
    torch_ms: float
    ratio: float
    rounds: int


def compare_runtimes(network: Path, rounds: int = 30, alpha: float = 0.5) -> InferenceTimes:
    """Time ONNX Runtime and torch eager in turn, both on one thread.

    Args:
        network: the ONNX file.
        rounds: how often.
        alpha: width of the network in the file.

    Raises:
        SettingsError: if torch is not installed.
        FileError: if the network cannot be used.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        raise SettingsError("the comparison needs torch: install parfocal[train]") from error
    from parfocal.training.model import FocusNet, ModelSettings

    session, contract = open_network(network)
    channels = CHANNELS[contract.input]
    patches = np.random.default_rng(0).normal(size=(PATCHES, channels, contract.patch_px, contract.patch_px))
    field = patches.astype(np.float32)
    net, tensor = FocusNet(ModelSettings(alpha, contract.patch_px, contract.input)).eval(), torch.from_numpy(field)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            times = _in_turn(lambda: session.run(None, {contract.input: field}), lambda: net(tensor), rounds)
    finally:
        torch.set_num_threads(threads)
    ratio = statistics.median(slow / fast for fast, slow in times)
    fast_ms, slow_ms = (1000 * statistics.median(column) for column in zip(*times, strict=True))
    return InferenceTimes(fast_ms, slow_ms, ratio, rounds)


def _in_turn(first: Callable[[], object], second: Callable[[], object], rounds: int) -> list[tuple[float, float]]:
    """Times in s of both, one after the other, so that a busy machine slows both."""
    for _ in range(_WARM_UP):
        first(), second()
    return [(_timed(first), _timed(second)) for _ in range(rounds)]


def _timed(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began
