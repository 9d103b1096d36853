"""The painted instrument: quick, and a microscope like any other to the control code."""

import numpy as np
import pytest

from parfocal.benchmark.painted import PIXEL_UM, PaintedSlide, painted_header, painted_scan, surface_um
from parfocal.devices.watched import watched
from parfocal.merit import tenengrad
from parfocal.scan.scanner import scan_fields
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.writer import FieldsWriter
from parfocal.slide.stitch import stitch

SHAPE = (120, 160)


def test_it_is_sharpest_where_its_focus_is():
    field, focus_um = PaintedSlide().field(100.0, -50.0, SHAPE, PIXEL_UM), surface_um(100.0, -50.0)
    sharpness = [tenengrad((255 * field.plane(focus_um + off)).astype(np.uint8)) for off in (-3.0, 0.0, 3.0)]
    assert sharpness[1] > 2 * max(sharpness[0], sharpness[2])


def test_neighbours_share_their_border():
    """Two fields 30 µm apart, in whole pixels."""
    moved_px = 87
    left = PaintedSlide().field(0.0, 0.0, SHAPE, PIXEL_UM).plane(surface_um(0, 0))
    right = PaintedSlide().field(moved_px * PIXEL_UM, 0.0, SHAPE, PIXEL_UM).plane(surface_um(moved_px * PIXEL_UM, 0))
    assert np.allclose(left[:, moved_px:], right[:, :-moved_px], atol=1e-3)


@pytest.fixture(scope="module")
def scanned(tmp_path_factory):
    scan, folder = painted_scan(0.25, seed=5), tmp_path_factory.mktemp("painted") / "scan"
    with FieldsWriter(folder, painted_header(scan)) as writer:
        microscope, settings, plan = watched(scan.microscope), scan.settings, scan.plan
        scan_fields(microscope, settings, scan.predictor, plan, writer, lambda *_: None, scan.truth)
    return scan, folder


def test_a_scan_of_it_is_in_focus(scanned):
    scan, folder = scanned
    records = FieldsFolder(folder).records
    assert len(records) == len(scan.plan)
    assert {record.verdict for record in records} == {"focused"}
    for record in records:
        x_um, y_um, z_um = record.true_stage_um
        assert abs(z_um - surface_um(x_um, y_um)) <= scan.microscope.depth_of_field_um / 2 + 0.2


def test_and_its_pictures_tell_where_they_belong(scanned):
    assert stitch(scanned[1]).max_error_px < 1.0
