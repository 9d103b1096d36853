"""What the grey levels of a slide mean: its ICC profile."""

from __future__ import annotations

from functools import cache

from PIL import ImageCms

_DATE = slice(24, 36)  # of the header, ICC.1:2010, 7.2
_PLATFORM = slice(40, 44)
_CLASS = slice(12, 16)


@cache
def srgb_profile() -> bytes:
    """ICC profile of sRGB, as an input device's: DICOM wants that class of a camera's pictures.

    The same bytes on every call and machine: neither date nor platform is in it.
    """
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[_CLASS] = b"scnr"
    profile[_DATE] = bytes.fromhex("07d0 0001 0001 0000 0000 0000")  # the first of January 2000
    profile[_PLATFORM] = bytes(4)
    return bytes(profile)
