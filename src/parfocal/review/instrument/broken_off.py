"""Scans that were stopped, or broke off, and can be gone on with from the page."""

from __future__ import annotations

from parfocal.errors import FileError
from parfocal.review.shelf.shelf import Shelf, Shelved
from parfocal.slide.fields.layout import HEADER_FILE, REPORT_FILE
from parfocal.slide.fields.records import read_header


def broken_off(shelf: Shelf) -> list[str]:
    """Places of all scans that did not come to their end, sorted.

    Raises:
        FileError: if the slides cannot be listed.
    """
    return [slide.place for slide in shelf.slides() if _broke_off(slide)]


def scans(shelf: Shelf) -> list[str]:
    """Places of all scans that came to their end, sorted. Raises FileError if the slides cannot be listed."""
    return [slide.place for slide in shelf.slides() if slide.folder is not None and _has_report(slide)]


def _broke_off(slide: Shelved) -> bool:
    """Whether it has a plan and no report, which a scan writes last. Photographs have neither."""
    if slide.folder is None or _has_report(slide):
        return False
    try:
        return bool(read_header(slide.folder / HEADER_FILE).header.plan)
    except FileError:
        return False


def _has_report(slide: Shelved) -> bool:
    return slide.folder is not None and (slide.folder / REPORT_FILE).is_file()
