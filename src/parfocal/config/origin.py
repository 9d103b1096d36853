"""From what an instrument was opened: written into each scan, to open it again, and to notice what has changed."""

from __future__ import annotations

import hashlib
from pathlib import Path

from parfocal.config.simulated import IMAGE_PREFIX
from parfocal.config.tables import InstrumentFile, instrument_names
from parfocal.errors import FileError
from parfocal.slide.fields.records import Origin


def origin_of(name: str, file: InstrumentFile, specimen: str, calibration: Path | None) -> Origin:
    """What an instrument was opened from. Raises FileError if a file cannot be read."""
    if specimen.startswith(IMAGE_PREFIX):
        specimen = IMAGE_PREFIX + str(Path(specimen.removeprefix(IMAGE_PREFIX)).absolute())
    return Origin(
        microscope=name if name in instrument_names() else str(Path(name).absolute()),
        settings=file.model_dump(mode="json"),
        specimen=specimen,
        calibration="" if calibration is None else str(calibration.absolute()),
        calibration_sha256="" if calibration is None else sha256_of(calibration),
    )


def changes(before: Origin, now: Origin) -> list[str]:
    """What has changed between two origins, in words; the place of a file does not count, what it says does."""
    told = []
    if before.settings != now.settings:
        told.append(f"the instrument's file ({now.microscope}) says something else than it did")
    if before.calibration_sha256 != now.calibration_sha256:
        what = {"": "no calibration"}
        was, is_ = (what.get(one.calibration_sha256, one.calibration) for one in (before, now))
        told.append(f"the calibration was {was}, and is {'another one in ' if is_ == was else ''}{is_}")
    if before.network_sha256 != now.network_sha256:
        told.append(f"the network was {_short(before.network_sha256)}, this one is {_short(now.network_sha256)}")
    return told


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal. Raises FileError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FileError(f"{path}: cannot read: {error.strerror}") from error


def _short(sha256: str) -> str:
    return f"SHA-256 {sha256[:12]}…" if sha256 else "none of a file"
