"""A device whose axes lie otherwise than ours is one like all others once its file has said so."""

import numpy as np
import pytest
from contract import XYContract, ZContract

from parfocal.devices.axes import AxisDirections, DirectedXY, InvertedZ
from parfocal.devices.base import Homing
from parfocal.devices.simulated import SimulatedXYStage, SimulatedZStage, VirtualClock, XYSettings, ZSettings

LIMITS_UM = ((-100.0, 300.0), (-50.0, 700.0))


def xy_stage():
    return SimulatedXYStage(XYSettings(limits_um=LIMITS_UM), VirtualClock(), np.random.default_rng(1))


class TestDirectedXY(XYContract):
    @pytest.fixture(params=[("x", False), ("y", True), ("xy", True), ("", True)])
    def xy(self, request):
        invert, swap = request.param
        return DirectedXY(xy_stage(), AxisDirections(frozenset(invert), swap))

    @pytest.fixture
    def xy_places(self):
        return [(0.0, 0.0), (40.0, -30.0), (-45.0, 20.0)]


class TestInvertedZ(ZContract):
    @pytest.fixture
    def z(self):
        return InvertedZ(SimulatedZStage(ZSettings(), VirtualClock(), np.random.default_rng(1)))

    @pytest.fixture
    def z_places(self):
        return [0.0, 10.0, -20.0]


def test_an_inverted_axis_moves_the_device_the_other_way():
    device = xy_stage()
    DirectedXY(device, AxisDirections(frozenset("x"))).move_to(80.0, 20.0)
    assert device.position_um == (-80.0, 20.0)


def test_swapped_axes_move_each_other_and_signs_are_in_our_sense():
    device = xy_stage()
    stage = DirectedXY(device, AxisDirections(frozenset("x"), swap_xy=True))
    stage.move_to(-80.0, 20.0)
    assert device.position_um == (20.0, 80.0)
    assert stage.limits_um == ((-700.0, 50.0), (-100.0, 300.0))


def test_a_stage_that_can_home_still_can_when_its_axes_are_turned():
    class HomingStage(SimulatedZStage):
        def home(self):
            self.is_homed = True

    stage = HomingStage(ZSettings(), VirtualClock(), np.random.default_rng(1))
    turned = InvertedZ(stage)
    assert isinstance(turned, Homing)
    turned.home()
    assert stage.is_homed
    assert not isinstance(InvertedZ(SimulatedZStage(ZSettings(), VirtualClock(), np.random.default_rng(1))), Homing)
