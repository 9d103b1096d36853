"""The ICC profile says what it should to a colour management system that we did not write."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms

from parfocal.slide.formats.colour import srgb_profile


def test_the_profile_is_srgb_of_an_input_device():
    opened = ImageCms.ImageCmsProfile(io.BytesIO(srgb_profile()))
    assert opened.profile.device_class == "scnr"
    assert opened.profile.xcolor_space == "RGB "
    every = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    shown = ImageCms.profileToProfile(every, opened, ImageCms.createProfile("sRGB"))
    assert np.abs(np.asarray(shown).astype(int) - np.asarray(every)).max() <= 1


def test_the_profile_does_not_tell_the_day(monkeypatch):
    assert srgb_profile()[24:36] == bytes.fromhex("07d000010001000000000000")
