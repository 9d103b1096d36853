"""When a picture counts as still."""

import pytest

from geometric import Stripes, instrument
from parfocal.scan.calibration.settle import measure_settling, settle_time

TIMES_S = (0.03, 0.06, 0.09, 0.12, 0.15, 0.18)


@pytest.mark.parametrize(
    ("differences", "settle_s"),
    [
        ((1.0, 1.1, 0.9, 1.0, 1.0, 1.1), 0.0),
        ((9.0, 3.0, 1.2, 1.0, 1.0, 1.1), 0.09),
        ((1.0, 5.0, 1.0, 1.0, 1.0, 1.0), 0.09),
        ((1.0, 1.0, 1.0, 1.0, 1.0, 9.0), None),
    ],
)
def test_a_picture_is_still_once_nothing_stands_out_any_more(differences, settle_s):
    assert settle_time(TIMES_S, differences) == settle_s


def test_what_vibration_makes_of_a_difference_is_no_motion():
    assert settle_time(TIMES_S, (1.0, 1.6, 1.0, 1.0, 1.7, 1.0), error=0.3) == 0
    assert settle_time(TIMES_S, (9.0, 1.6, 1.0, 1.0, 1.7, 1.0), error=0.3) == 0.06


def test_a_simulated_camera_does_not_ring():
    microscope, _ = instrument(Stripes(0.0))
    settling = measure_settling(microscope)
    assert settling.settle_s == 0
    assert settling.times_s[0] == pytest.approx(0.033)
    assert len(settling.times_s) == len(settling.differences)
