"""Inputs as an enemy would write them: damaged bytes, and documents whose values are not what they should be."""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Callable

from parfocal.slide.fields.sealed import sealed

NASTY = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, -(10**18), 0.5, 1e308, -1e308, 1e-320, float("nan"),
    float("inf"), "", "x", "../../../etc/passwd", "/etc/passwd", "..", ".", "a\x00b",
    "é" * 300, "�", "1e999", "-0", "[]", "{}",
    [], [[]], [None], [1, 2, 3, 4, 5], {}, {"a": {}}, [[[[[[[[]]]]]]]],
)  # fmt: skip

Mutation = Callable[[bytes, random.Random], bytes]


def damaged(content: bytes, rng: random.Random) -> bytes:
    """The same bytes with some of them flipped, cut, doubled, zeroed or moved, once or several times."""
    kept = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        if not kept:
            return bytes(kept)
        at = rng.randrange(len(kept))
        upto = min(len(kept), at + rng.choice((1, 2, 4, 8, 64, 1024)))
        kind = rng.randrange(7)
        if kind == 0:
            kept[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            kept[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif kind == 2:
            del kept[at:]
        elif kind == 3:
            del kept[at:upto]
        elif kind == 4:
            kept[at:at] = kept[at:upto]
        elif kind == 5:
            kept[at:upto] = bytes(upto - at)
        else:
            kept[at:upto] = rng.randbytes(upto - at)
    return bytes(kept)


def _places(value: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    found = [path]
    if isinstance(value, dict):
        for key in value:
            found += _places(value[key], (*path, key))
    elif isinstance(value, list):
        for index in range(min(len(value), 20)):
            found += _places(value[index], (*path, index))
    return found


def _changed(value: object, rng: random.Random) -> object:
    value = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        path = rng.choice(_places(value))
        if not path:
            value = copy.deepcopy(rng.choice(NASTY)) if rng.random() < 0.1 else value
            continue
        parent = value
        for key in path[:-1]:
            parent = parent[key]
        kind = rng.randrange(5)
        if kind == 0 and isinstance(parent, dict):
            del parent[path[-1]]
        elif kind == 1 and isinstance(parent, dict):
            parent[rng.choice(("", "extra", "__class__", str(path[-1]) + " "))] = copy.deepcopy(rng.choice(NASTY))
        elif kind == 2 and isinstance(parent, list):
            parent.append(copy.deepcopy(parent[path[-1]]))
        else:
            parent[path[-1]] = copy.deepcopy(rng.choice(NASTY))
    return value


def changed_json(content: bytes, rng: random.Random) -> bytes:
    """A JSON document with another value somewhere, a key more or less, or damaged bytes."""
    if rng.random() < 0.2:
        return damaged(content, rng)
    if rng.random() < 0.01:
        return rng.choice((b"[", b'{"a":')) * 100_000
    return json.dumps(_changed(json.loads(content), rng)).encode("utf-8", "surrogatepass")


def changed_lines(content: bytes, rng: random.Random) -> bytes:
    """JSON lines with one of them changed, doubled, left out or swapped, or damaged bytes."""
    if rng.random() < 0.2:
        return damaged(content, rng)
    lines = content.splitlines(keepends=True)
    at = rng.randrange(len(lines))
    kind = rng.randrange(5)
    if kind == 0:
        lines.insert(at, lines[at])
    elif kind == 1:
        del lines[at]
    elif kind == 2:
        other = rng.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
    else:
        lines[at] = changed_json(lines[at].rstrip(b"\n"), rng) + b"\n"
    return b"".join(lines)


def changed_sealed_lines(content: bytes, rng: random.Random) -> bytes:
    """Lines of a fields folder, one of them changed and its checksum made right again."""
    lines = content.splitlines()
    at = rng.randrange(len(lines))
    values = json.loads(lines[at])
    values.pop("crc32", None)
    changed = _changed(values, rng)
    lines[at] = sealed(json.dumps(changed if isinstance(changed, dict) and changed else {"a": changed})).rstrip(b"\n")
    return b"\n".join(lines) + b"\n"


def changed_text(content: bytes, rng: random.Random) -> bytes:
    """A text (TOML, CSV, XML) with one of its values replaced by a nasty one, or damaged bytes."""
    if rng.random() < 0.3:
        return damaged(content, rng)
    found = list(re.finditer(rb'"[^"\n]*"|-?\d[\d._e+-]*|true|false|\[[^\]\n]*\]|[^,;\n]+', content))
    if not found:
        return damaged(content, rng)
    value = rng.choice(NASTY)
    text = value if isinstance(value, str) else json.dumps(value)
    if rng.random() < 0.5:
        text = f'"{text}"' if isinstance(value, str) else text
    place = rng.choice(found)
    return content[: place.start()] + text.encode("utf-8", "surrogatepass") + content[place.end() :]
