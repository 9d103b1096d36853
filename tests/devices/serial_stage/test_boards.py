"""Boards with GRBL, Marlin and the Sangaboard keep the contracts of stages and lamps, emulated behind a terminal."""

import pytest
from contract import LampContract, XYContract, ZContract

from emulated import board

DRIVERS = ("grbl", "marlin", "sangaboard", "sangaboard-old")


@pytest.fixture(scope="class", params=DRIVERS)
def opened(request, small_toml):
    old = {"blocking": True} if request.param == "sangaboard-old" else {}
    with board(request.param.removesuffix("-old"), small_toml(), **old) as emulated:
        roles = ("xy", "z") if old else ("xy", "z", "lamp")
        devices = emulated.open(roles)
        yield devices
        devices.close()


class TestXY(XYContract):
    @pytest.fixture
    def xy(self, opened):
        return opened.xy

    @pytest.fixture
    def xy_places(self):
        return [(0.0, 0.0), (125.0, -2500.0), (-10_000.0, 10_000.0), (7.5, 2.5)]


class TestZ(ZContract):
    @pytest.fixture
    def z(self, opened):
        return opened.z

    @pytest.fixture
    def z_places(self):
        return [0.0, -22.0, -8.1, 299.9]


class TestLamp(LampContract):
    @pytest.fixture
    def lamp(self, opened):
        if opened.lamp is None:
            pytest.skip("firmware 0.5 of the Sangaboard has no lamp")
        return opened.lamp
