"""Every move is noted before and after, and beats; what the devices do is left as it is."""

import pytest

from geometric import Stripes, instrument
from parfocal.errors import InstrumentError, LimitError
from parfocal.scan.journal import NoJournal, journalled


class Notes:
    """A journal in memory."""

    def __init__(self):
        self.told = []

    def note(self, what, **values):
        self.told.append((what, values))


@pytest.fixture
def watched():
    microscope, _ = instrument(Stripes(0.0))
    notes, beats = Notes(), []
    return journalled(microscope, notes, lambda: beats.append(len(notes.told))), notes, beats


def test_a_move_has_its_intent_before_it_and_its_result_after_it(watched):
    microscope, notes, _ = watched
    microscope.xy.move_to(12.3456, -7.0)
    microscope.z.move_to(3.0001)
    assert notes.told == [
        ("move", {"axis": "xy", "to_um": [12.346, -7.0]}),
        ("arrived", {"axis": "xy", "at_um": [12.346, -7.0]}),
        ("move", {"axis": "z", "to_um": 3.0}),
        ("arrived", {"axis": "z", "at_um": 3.0}),
    ]
    assert microscope.xy.position_um == (12.3456, -7.0)
    assert microscope.z.position_um == 3.0001


def test_a_move_that_fails_says_why_and_fails_as_before(watched):
    microscope, notes, _ = watched
    with pytest.raises(LimitError, match="outside the limits"):
        microscope.z.move_to(microscope.z.limits_um[1] + 1)
    assert [what for what, _ in notes.told] == ["move", "not arrived"]
    assert "outside the limits" in notes.told[1][1]["why"]


def test_it_beats_before_and_after_every_move_and_exposure(watched):
    microscope, _, beats = watched
    microscope.z.move_to(1.0)
    assert beats == [0, 2]
    microscope.camera.snap()
    assert beats == [0, 2, 2, 2]


def test_the_devices_are_what_they_were(watched):
    microscope, _, _ = watched
    plain, _ = instrument(Stripes(0.0))
    assert microscope.camera.frame_shape == plain.camera.frame_shape
    assert microscope.camera.pixel_size_um == plain.camera.pixel_size_um
    assert microscope.xy.limits_um == plain.xy.limits_um
    assert microscope.z.limits_um == plain.z.limits_um


def test_a_device_that_breaks_down_is_not_noted_as_arrived(watched):
    microscope, notes, _ = watched

    def broken(x_um, y_um):
        raise InstrumentError("no answer within 2 s")

    microscope.xy._stage.move_to = broken
    with pytest.raises(InstrumentError):
        microscope.xy.move_to(1.0, 2.0)
    assert notes.told[-1] == ("not arrived", {"axis": "xy", "why": "no answer within 2 s"})


def test_without_a_journal_nothing_is_kept():
    assert NoJournal().note("move", axis="z") is None
