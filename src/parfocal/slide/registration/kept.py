"""The registration of a scan, kept in its folder: made once, used by every export and report."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, Field, FiniteFloat, ValidationError

from parfocal.documents import read_json
from parfocal.durable import cannot, may_keep, written_aside
from parfocal.errors import FileError
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.layout import HEADER_FILE, RECORDS_FILE, REGISTRATION_FILE
from parfocal.slide.light.flatfield import FlatField
from parfocal.slide.registration.register import register
from parfocal.slide.registration.seams import Progress, Registration, RegistrationSettings, Seam

FORMAT = "parfocal-registration-4"
"""Changes whenever the same fields would be registered otherwise, so that what was kept before is made anew."""


def registered(
    folder: FieldsFolder,
    flat: FlatField,
    progress: Progress | None = None,
    settings: RegistrationSettings | None = None,
) -> Registration:
    """The kept registration of a scan if it is still that of its fields, else a new one.

    The new one is kept, unless the folder is read-only.

    Args:
        folder: the scan, with at least one field.
        flat: float32 (Y, X, 3) relative illumination.
        progress: told about each pair, where any is compared.
        settings: None for the defaults.

    Raises:
        FileError: if a frame cannot be read, or the registration cannot be written.
    """
    settings = settings or RegistrationSettings()
    digest = _digest(folder, settings)
    kept = _read(folder, digest)
    if kept is not None:
        return kept
    made = register(folder, flat, settings, progress)
    if may_keep(folder.path):
        _write(folder, digest, made)
    return made


def kept_registration(folder: FieldsFolder, settings: RegistrationSettings | None = None) -> Registration | None:
    """The kept registration of a scan; None if there is none, or it is not that of its fields.

    Args:
        folder: the scan.
        settings: None for the defaults.

    Raises:
        FileError: if a file of the folder cannot be read.
    """
    return _read(folder, _digest(folder, settings or RegistrationSettings()))


@dataclass(frozen=True)
class FieldSeams:
    """How well one field joins its neighbours.

    Attributes:
        seams: neighbours it was compared with.
        accepted: of these, the ones whose shift was used.
        residual_px: largest residual of the accepted ones, in px; None without any.
        island: number of the piece it belongs to, 0 the largest.
    """

    seams: int
    accepted: int
    residual_px: float | None
    island: int


def seams_of_fields(registration: Registration) -> list[FieldSeams]:
    """How well each field joins its neighbours, in the order of the folder's records."""
    beside: list[list[Seam]] = [[] for _ in registration.component]
    for seam in registration.seams:
        beside[seam.a].append(seam)
        beside[seam.b].append(seam)
    rows = []
    for seams, island in zip(beside, registration.islands, strict=True):
        residuals = [seam.residual_px for seam in seams if seam.accepted]
        rows.append(FieldSeams(len(seams), len(residuals), max(residuals, default=None), int(island)))
    return rows


def _digest(folder: FieldsFolder, settings: RegistrationSettings) -> str:
    """Of all that the registration depends on; a frame stands in by its size."""
    digest = hashlib.sha256(json.dumps([FORMAT, asdict(settings)]).encode())
    for path in (folder.path / HEADER_FILE, folder.path / RECORDS_FILE):
        try:
            digest.update(path.read_bytes())
        except OSError as error:
            raise cannot("read", path, error) from error
    for record in folder.records:
        path = folder.path / record.file
        try:
            digest.update(f"{path.stat().st_size}\n".encode())
        except OSError as error:
            raise cannot("read", path, error) from error
    return digest.hexdigest()


class _KeptField(BaseModel):
    x_px: FiniteFloat
    y_px: FiniteFloat
    component: Annotated[int, Field(ge=0, lt=2**31)]


class _Kept(BaseModel):
    """What `registration.json` holds, as far as it is read back."""

    digest: str
    least_score: FiniteFloat
    stage_matrix: tuple[tuple[FiniteFloat, FiniteFloat], tuple[FiniteFloat, FiniteFloat]]
    distortion: FiniteFloat
    fields: tuple[_KeptField, ...]
    seams: tuple[Seam, ...]

    def is_of(self, fields: int) -> bool:
        """Whether it places so many fields, and its seams lie between them."""
        ends = {end for seam in self.seams for end in (seam.a, seam.b)}
        return len(self.fields) == fields and all(0 <= end < fields for end in ends)

    def registration(self) -> Registration:
        """The same as arrays."""
        return Registration(
            mosaic_xy_px=np.array([(field.x_px, field.y_px) for field in self.fields], np.float64),
            seams=self.seams,
            component=np.array([field.component for field in self.fields], np.int32),
            least_score=self.least_score,
            stage_matrix=self.stage_matrix,
            distortion=self.distortion,
        )


def _read(folder: FieldsFolder, digest: str) -> Registration | None:
    """What is kept, or None if there is nothing, or nothing of these fields."""
    path = folder.path / REGISTRATION_FILE
    if not path.exists():
        return None
    try:
        kept = _Kept.model_validate(read_json(path))
    except (FileError, ValidationError):  # another program's file, or an edited one: it is made anew
        return None
    return kept.registration() if kept.digest == digest and kept.is_of(len(folder.records)) else None


def _write(folder: FieldsFolder, digest: str, registration: Registration) -> None:
    text = json.dumps(_to_json(folder, digest, registration), allow_nan=False)
    with written_aside(folder.path / REGISTRATION_FILE) as part:
        part.write_text(text, encoding="utf-8")


def _to_json(folder: FieldsFolder, digest: str, registration: Registration) -> dict[str, Any]:
    pixel_um = folder.header.pixel_size_um
    return {
        "format": FORMAT,
        "digest": digest,
        "pixel_size_um": pixel_um,
        "least_score": registration.least_score,
        "stage_matrix": registration.stage_matrix,
        "distortion": registration.distortion,
        "fields": [
            {"field": record.index, "x_px": float(x), "y_px": float(y), "component": int(component)}
            for record, (x, y), component in zip(
                folder.records, registration.mosaic_xy_px, registration.component, strict=True
            )
        ],
        "seams": [{**asdict(seam), "residual_um": seam.residual_px * pixel_um} for seam in registration.seams],
    }
