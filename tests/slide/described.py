"""A slide that has something to say about everything."""

from __future__ import annotations

import datetime
from dataclasses import replace

from PIL import ImageCms

from parfocal.slide.formats.description import SlideDescription
from parfocal.slide.quality.table import FieldQuality

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
FIELD = FieldQuality(
    field=0,
    row=0,
    column=0,
    mosaic_x_px=0.0,
    mosaic_y_px=0.0,
    stage_x_um=0.0,
    stage_y_um=0.0,
    stage_z_um=1.0,
    verdict="focused",
    focus_um=1.0,
    focus_sd_um=0.2,
    focus_source="measured",
    score=None,
    images=1,
    attempt=1,
    seams=2,
    seams_accepted=2,
    seam_residual_px=0.5,
    seam_residual_um=0.1725,
    island=0,
)
DESCRIPTION = SlideDescription(
    name="smear 7 µ 🔬",
    instrument="simulated-20x",
    pixel_size_um=0.345,
    magnification=20,
    na=0.75,
    immersion_index=1.0,
    creator="Parfocal 0.1.0",
    serial_number="SN-7",
    scanned_at=datetime.datetime(2026, 3, 4, 5, 6, 7, tzinfo=datetime.UTC),
    icc_profile=SRGB,
    fields=(FIELD, replace(FIELD, field=1, verdict="empty", seam_residual_um=None)),
)
