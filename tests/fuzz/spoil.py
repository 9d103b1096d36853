"""Feed spoilt inputs to every reader and tell which of them ended in anything but our own errors.

    python tests/fuzz/spoil.py --inputs 2500 --seed 1 [NAME …]

Each kind is read in a process of its own, with a limit on memory, so that a crash of a decoder counts and hurts nobody.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import resource
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

MEMORY = 4 * 2**30
LONGEST_S = 20.0


def spoil_one(name: str, inputs: int, seed: int) -> dict[str, object]:
    """Read `inputs` spoilt inputs of one kind here; gives how each ended."""
    import faulthandler
    import logging
    import time
    import warnings

    from targets import TARGETS

    from parfocal.errors import ParfocalError

    faulthandler.enable()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    target = next(each for each in TARGETS if each.name == name)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.RLIM_INFINITY))
    outcomes: collections.Counter[str] = collections.Counter()
    bad: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory() as folder:
        target.make(Path(folder))
        file = Path(folder) / target.file
        whole = file.read_bytes()
        target.read(Path(folder))
        for number in range(inputs):
            rng = random.Random(f"{seed}-{name}-{number}")
            file.write_bytes(target.mutation(whole, rng))
            print(json.dumps({"number": number}), file=sys.stderr)
            began_s = time.monotonic()
            try:
                target.read(Path(folder))
                outcomes["read"] += 1
            except ParfocalError:
                outcomes["refused"] += 1
            except Exception as error:  # noqa: BLE001 - that none comes is what is to be shown
                where = traceback.extract_tb(error.__traceback__)
                ours = [frame for frame in where if "parfocal" in frame.filename][-1:] or where[-1:]
                key = f"{type(error).__name__} at {Path(ours[0].filename).name}:{ours[0].lineno}"
                outcomes["crashed"] += 1
                bad.setdefault(key, {"count": 0, "first": number, "message": str(error)[:200]})
                bad[key]["count"] += 1  # type: ignore[operator]
            if time.monotonic() - began_s > LONGEST_S:
                bad.setdefault("slow", {"count": 0, "first": number, "message": "takes too long"})
            file.write_bytes(whole)
    return {"name": name, "inputs": inputs, **outcomes, "bad": bad}


def spoil(names: Sequence[str], inputs: int, seed: int) -> list[dict[str, object]]:
    """The same in a process of its own; one that dies of a signal is told of."""
    command = [sys.executable, __file__, "--here", "--inputs", str(inputs), "--seed", str(seed), *names]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent)
    told: list[dict[str, object]] = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.startswith('{"number"')]
        last = json.loads(lines[-1])["number"] if lines else -1
        why = [line for line in done.stderr.splitlines() if not line.startswith('{"number"')][-12:]
        died = {"count": 1, "first": last, "message": "\n".join(why)}
        bad = {f"process ended with {done.returncode}": died}
        told.append({"name": names[len(told)], "inputs": last + 1, "crashed": 1, "bad": bad})
    return told


def main() -> int:
    """Spoil, print a line for each kind, and end with 1 if anything crashed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="kinds of input; all of them if none is named")
    parser.add_argument("--inputs", type=int, default=2500, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.here:
        for name in asked.names:
            print(json.dumps(spoil_one(name, asked.inputs, asked.seed)), flush=True)
        return 0
    from targets import TARGETS

    crashed = total = 0
    for name in asked.names or [target.name for target in TARGETS]:
        (told,) = spoil([name], asked.inputs, asked.seed)
        bad = told.pop("bad")
        print(json.dumps(told), flush=True)
        for key, what in bad.items():  # type: ignore[union-attr]
            print(f"    {key}: {what}", flush=True)
        total += int(told["inputs"])  # type: ignore[call-overload]
        crashed += int(told.get("crashed", 0)) + ("slow" in bad)  # type: ignore[operator,call-overload]
    print(f"{total} inputs, {crashed} crashed")
    return 1 if crashed else 0


if __name__ == "__main__":
    sys.exit(main())
