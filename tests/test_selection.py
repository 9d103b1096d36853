"""`make test`, `make check` and `make long` together run every test that needs no hardware."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SKIPS_WITHOUT_TRAIN = re.compile(r'importorskip\(\s*"(torch|onnx|tensorboard|parfocal\.training)\b')
FILES = [path for path in sorted(TESTS.rglob("test_*.py")) if SKIPS_WITHOUT_TRAIN.search(path.read_text("utf-8"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_skips_without_the_train_extra_is_marked_so_that_make_check_runs_it(path):
    assert "pytest.mark.train" in path.read_text("utf-8")
