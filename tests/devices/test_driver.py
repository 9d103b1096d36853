"""Drivers are found by name, by entry point or by module, and nothing else is taken for one."""

import pytest
from contract import LampContract

from parfocal.devices.always_on import AlwaysOnLamp
from parfocal.devices.driver import BUILT_IN, Driver, driver_named, driver_names
from parfocal.errors import SettingsError


class TestAlwaysOnLamp(LampContract):
    @pytest.fixture
    def lamp(self):
        return AlwaysOnLamp()


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_every_driver_that_comes_with_parfocal_goes_by_its_name_and_can_do_something(name):
    driver = driver_named(name)
    assert isinstance(driver, Driver)
    assert driver.name == name
    assert driver.roles
    assert driver.summary
    assert name in driver_names()


def test_a_driver_of_ones_own_is_named_by_module_and_attribute():
    assert driver_named("parfocal.devices.always_on:DRIVER").name == "always-on"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("grlb", "choose one of .*always-on"),
        ("no_such_module:DRIVER", "cannot be imported: No module named"),
        ("parfocal.devices.always_on:AlwaysOnLamp", r"is not a parfocal\.devices\.driver\.Driver"),
        ("parfocal.devices.always_on:MISSING", r"is not a parfocal\.devices\.driver\.Driver"),
    ],
)
def test_what_is_no_driver_is_refused_with_the_reason(name, why):
    with pytest.raises(SettingsError, match=why):
        driver_named(name)
