"""The comparison of runtimes."""

import pytest

from parfocal.benchmark.inference import compare_runtimes
from parfocal.config import shipped_network
from parfocal.errors import FileError


@pytest.mark.train
def test_both_runtimes_are_timed_in_turn_on_the_shipped_network():
    pytest.importorskip("torch")
    times = compare_runtimes(shipped_network(), rounds=2)
    assert times.rounds == 2
    assert times.onnxruntime_ms > 0
    assert times.torch_ms > 0
    assert times.ratio > 0


@pytest.mark.train
def test_a_missing_network_is_named(tmp_path):
    pytest.importorskip("torch")
    with pytest.raises(FileError, match=r"none\.onnx"):
        compare_runtimes(tmp_path / "none.onnx")
