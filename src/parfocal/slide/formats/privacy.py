"""What leaves the laboratory with a slide, and what does not."""

from __future__ import annotations

from dataclasses import replace

from parfocal.slide.formats.description import SlideDescription


def deidentify(description: SlideDescription) -> tuple[SlideDescription, tuple[str, ...]]:
    """A description without what could lead back to a person, a day or an instrument.

    The name is a pseudonym then, and the label, the time of the scan and the instrument's serial number are left out.
    Nobody looks at the pixels: what is written on the glass within the scanned area stays.

    Args:
        description: of the slide, its `pseudonym` given.

    Returns:
        The description to write, and what was stripped, in words; empty if there was nothing.
    """
    found = (
        ("slide id", description.name != description.pseudonym),
        ("label image", description.label is not None),
        ("overview image", description.overview is not None),
        ("time of the scan", description.scanned_at is not None),
        ("serial number of the instrument", bool(description.serial_number)),
    )
    stripped = tuple(what for what, is_there in found if is_there)
    bare = replace(
        description, name=description.pseudonym, label=None, overview=None, scanned_at=None, serial_number=""
    )
    return bare, stripped
