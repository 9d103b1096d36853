"""Scans that were stopped, or broke off, and can be gone on with from the page."""

from __future__ import annotations

from pathlib import Path

from parfocal.errors import FileError
from parfocal.review.shelf.shelf import Shelf, Shelved
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.layout import HEADER_FILE, RECORDS_FILE, REPORT_FILE
from parfocal.slide.fields.made import is_made
from parfocal.slide.fields.records import read_header


def broken_off(shelf: Shelf) -> list[str]:
    """Places of all scans that did not come to their end, sorted; also where fields were taken again since, without it.

    Raises:
        FileError: if the slides cannot be listed.
    """
    return [slide.place for slide in shelf.slides() if _broke_off(slide)]


def scans(shelf: Shelf) -> list[str]:
    """Places of all scans that came to their end, sorted. Raises FileError if the slides cannot be listed."""
    return [slide.place for slide in shelf.slides() if slide.folder is not None and _has_report(slide)]


def _broke_off(slide: Shelved) -> bool:
    """Whether it has a plan and no report, which a scan writes last, or one of fewer fields; photographs have none."""
    if slide.folder is None or (_has_report(slide) and not _was_added_to(slide.folder)):
        return False
    try:
        has_plan = bool(read_header(slide.folder / HEADER_FILE).header.plan)
        return has_plan and not (_has_report(slide) and is_made(FieldsFolder(slide.folder)))
    except FileError:
        return False


def _has_report(slide: Shelved) -> bool:
    return slide.folder is not None and (slide.folder / REPORT_FILE).is_file()


def _was_added_to(folder: Path) -> bool:
    """Whether fields may have been taken since the report was written: to read many takes its time."""
    try:
        return (folder / RECORDS_FILE).stat().st_mtime_ns > (folder / REPORT_FILE).stat().st_mtime_ns
    except OSError:
        return False
