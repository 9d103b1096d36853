"""Which files make up a fields folder, and which of a folder's files are a scan's own."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from parfocal.durable import PART_SUFFIX

FrameFormat = Literal["jpg", "png"]

HEADER_FILE = "scan.json"
RECORDS_FILE = "fields.jsonl"
JOURNAL_FILE = "journal.jsonl"
FRAMES_FOLDER = "frames"
LABEL_FILE = "label.png"
REGISTRATION_FILE = "registration.json"
SEAMS_PICTURE = "seams.png"
SCORES_FILE = "scores.json"
LIGHT_FILE = "light.json"
SLIDE_FILE = "slide.ome.tif"
REPORT_FILE = "report.json"
RESULT_FILES = (
    SLIDE_FILE,
    "overview.jpg",
    REPORT_FILE,
    "focus.png",
    "quality.html",
    "quality.png",
    "quality.parquet",
    "quality.csv",
    SCORES_FILE,
    LIGHT_FILE,
    REGISTRATION_FILE,
    SEAMS_PICTURE,
)
"""What later steps write beside the fields; a new scan into the same folder replaces them too."""


def frame_file(index: int, attempt: int, frame_format: FrameFormat) -> str:
    """Where the kept frame of a field lies, relative to the folder."""
    again = "" if attempt == 1 else f"-{attempt}"
    return f"{FRAMES_FOLDER}/f{index:05d}{again}.{frame_format}"


def is_own(relative: Path) -> bool:
    """Whether a file, by its path relative to the folder, is one that a scan or a step after it writes."""
    name = relative.name.removesuffix(PART_SUFFIX)
    if relative.parent == Path(FRAMES_FOLDER):
        stem, _, suffix = name.partition(".")
        return stem[:1] == "f" and stem[1:].replace("-", "", 1).isdigit() and suffix in get_args(FrameFormat)
    own = (HEADER_FILE, RECORDS_FILE, JOURNAL_FILE, LABEL_FILE, *RESULT_FILES)
    return relative.parent == Path() and name in own
