"""Lines of a fields folder, changed by hand and sealed again."""

import json

from parfocal.slide.fields.sealed import sealed


def resealed(line: str) -> str:
    """The line with the checksum that fits it."""
    values = json.loads(line)
    values.pop("crc32", None)
    return sealed(json.dumps(values)).decode()
