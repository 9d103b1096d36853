"""DICOM whole-slide images (Supplement 145): a folder with one file for each level, thumbnail, label and overview."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import UID

from parfocal.durable import all_written_aside, cannot, refuse_foreign
from parfocal.slide.fields.records import Frame
from parfocal.slide.formats.description import SlideDescription
from parfocal.slide.formats.dicom_attributes import (
    add_geometry,
    add_quality,
    common_attributes,
    file_meta,
    image_attributes,
)
from parfocal.slide.formats.dicom_frames import write_frames
from parfocal.slide.pyramid import TILE_PX, Pyramid, encode_jpeg

SUFFIX = ".dcm"
_GLASS_UM = 25_000.0  # the glass across, which label and overview show whole
_ROLES = ("study", "series", "frame of reference", "pyramid", "dimensions", "specimen")


@dataclass(frozen=True)
class _Instance:
    """One file: its name, what it shows, and its frames."""

    name: str
    image_type: tuple[str, str, str, str]
    shape: tuple[int, int]
    tile_shape: tuple[int, int]
    pixel_um: float
    frames: Iterable[bytes]
    lengths: Sequence[int]


def write_dicom(folder: Path, pyramid: Pyramid, description: SlideDescription, *, random_uids: bool = False) -> None:
    """Write a virtual slide as DICOM; under the folder's name there is never half a slide.

    The UIDs follow from what is written, so that a second export of the same slide is the same slide to an archive,
    not another one beside it. Whoever holds a slide and guesses all that was said about it could so tell that
    another file shows it too; random UIDs rule that out.

    Args:
        folder: of the files; an earlier export in it is replaced, anything else refused.
        pyramid: all tiles, built.
        description: of the slide.
        random_uids: whether each export gets UIDs of its own.

    Raises:
        FileError: if the folder cannot be written, or holds anything but DICOM files.
    """
    refuse_foreign(folder, lambda file: file.suffix == SUFFIX)
    fingerprint = uuid.uuid4().hex if random_uids else _fingerprint(pyramid, description)
    common = common_attributes(description, {role: _uid(fingerprint, role) for role in _ROLES})
    with all_written_aside(folder.parent) as aside:
        try:
            (aside / folder.name).mkdir()
            for number, instance in enumerate(_instances(pyramid, description), 1):
                dataset = _dataset(instance, number, description, _uid(fingerprint, instance.name))
                dataset.update(common)
                write_frames(aside / folder.name / (instance.name + SUFFIX), dataset, instance.frames, instance.lengths)
        except OSError as error:
            raise cannot("write", folder, error) from error


def _dataset(instance: _Instance, number: int, description: SlideDescription, uid: UID) -> Dataset:
    """What stands in this instance alone."""
    dataset = image_attributes(instance.image_type, instance.shape, instance.tile_shape, instance.lengths)
    dataset.InstanceNumber, dataset.SOPInstanceUID = number, uid
    dataset.file_meta = file_meta(uid)
    add_geometry(dataset, description, instance.pixel_um)
    if number == 1:
        add_quality(dataset, description.fields)
    return dataset


def _instances(pyramid: Pyramid, description: SlideDescription) -> Iterator[_Instance]:
    tile_shape = (TILE_PX, TILE_PX)
    for level, shape in enumerate(pyramid.shapes):
        kind = ("DERIVED", "PRIMARY", "VOLUME", "RESAMPLED") if level else ("ORIGINAL", "PRIMARY", "VOLUME", "NONE")
        size_um = description.pixel_size_um * 2**level
        frames, lengths = pyramid.tiles(level), pyramid.lengths(level).tolist()
        yield _Instance(f"level-{level}", kind, shape, tile_shape, size_um, frames, lengths)
    size_um = description.pixel_size_um * 2 ** (len(pyramid.shapes) - 1)
    kind = ("DERIVED", "PRIMARY", "THUMBNAIL", "RESAMPLED")
    yield _single("thumbnail", kind, pyramid.smallest, size_um, pyramid.quality)
    for name, picture in (("label", description.label), ("overview", description.overview)):
        if picture is not None:
            size_um = _GLASS_UM / min(picture.shape[:2])
            yield _single(name, ("ORIGINAL", "PRIMARY", name.upper(), "NONE"), picture, size_um, pyramid.quality)


def _single(name: str, kind: tuple[str, str, str, str], picture: Frame, size_um: float, quality: int) -> _Instance:
    """An instance of one frame."""
    encoded, shape = encode_jpeg(picture, quality), (picture.shape[0], picture.shape[1])
    return _Instance(name, kind, shape, shape, size_um, [encoded], [len(encoded)])


def _fingerprint(pyramid: Pyramid, description: SlideDescription) -> str:
    """Hash of what is written: of the description, of the smallest level, of each tile's length."""
    digest = hashlib.sha256(repr(description).encode())
    for picture in (description.label, description.overview):
        digest.update(b"" if picture is None else picture.tobytes())
    for level in range(len(pyramid.shapes)):
        digest.update(pyramid.lengths(level).tobytes())
    for tile in pyramid.tiles(len(pyramid.shapes) - 1):
        digest.update(tile)
    return digest.hexdigest()


def _uid(fingerprint: str, role: str) -> UID:
    """A UID from a UUID from a name (PS3.5 B.2, RFC 4122 version 5)."""
    return UID(f"2.25.{uuid.uuid5(uuid.NAMESPACE_URL, f'parfocal:{fingerprint}:{role}').int}")
