"""JSON lines that tell whether they are whole: each ends with the CRC-32 of its bytes before that.

    {"index": 3, "verdict": "focused", "crc32": "5d41a20c"}

A disk that loses power leaves torn lines, or lines of zeros; bits that turn over later are found too.
"""

from __future__ import annotations

import json
import zlib
from typing import Any

_SEAL = b', "crc32": "'
_SEAL_BYTES = len(_SEAL) + 8 + len(b'"}')


def sealed(body: str, **late: str | int) -> bytes:
    """A line, its end included.

    Args:
        body: a JSON object with at least one member, as `json.dumps` writes it, on one line.
        late: members that were not known when the body was written.
    """
    added = "".join(f", {json.dumps(name)}: {json.dumps(value)}" for name, value in late.items())
    told = (body[:-1] + added).encode()
    return told + _SEAL + f"{zlib.crc32(told):08x}".encode() + b'"}\n'


def is_sealed(line: bytes) -> bool:
    """Whether a line, without its end, bears a checksum, right or wrong."""
    return line[-_SEAL_BYTES:].startswith(_SEAL)


def is_whole(line: bytes) -> bool:
    """Whether a line, without its end, bears the right checksum."""
    told, seal = line[:-_SEAL_BYTES], line[-_SEAL_BYTES:]
    return seal == _SEAL + f"{zlib.crc32(told):08x}".encode() + b'"}'


def parsed(text: bytes) -> dict[str, Any]:
    """A JSON object, or an empty one where the text is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
