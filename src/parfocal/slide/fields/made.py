"""Whether slide and report of a fields folder were made, of all that it holds."""

from __future__ import annotations

from parfocal.documents import read_json
from parfocal.errors import FileError
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.layout import REPORT_FILE, SLIDE_FILE


def is_made(folder: FieldsFolder) -> bool:
    """Whether a slide is there, and a report that was written after the last attempt at a field.

    The report comes after the slide, and tells of how many attempts both were made; those of older versions do not.
    """
    path = folder.path / REPORT_FILE
    if not (folder.path / SLIDE_FILE).is_file() or not path.is_file():
        return False
    try:
        attempts = read_json(path).get("attempts")
    except FileError:
        return False
    return attempts is None or attempts == len(folder.attempts)
