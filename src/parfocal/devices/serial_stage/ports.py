"""Serial ports behind which a board may be. They are looked at, never opened: that would restart some boards."""

from __future__ import annotations

from parfocal.devices.driver import Found

_USB: dict[str, dict[tuple[int, int], str]] = {
    "grbl": {
        (0x2341, 0x0043): "Arduino Uno, as most boards with GRBL",
        (0x1A86, 0x7523): "CH340 adapter, as on many boards with GRBL",
        (0x0403, 0x6001): "FTDI adapter, as on some boards with GRBL",
        (0x10C4, 0xEA60): "CP210x adapter, as on boards with GRBL for the ESP32",
    },
    "marlin": {
        (0x0483, 0x5740): "STM32, as on 3D-printer boards with Marlin",
        (0x1D50, 0x6029): "LPC176x, as on 3D-printer boards with Marlin",
        (0x2341, 0x0042): "Arduino Mega, as on RAMPS boards with Marlin",
    },
    "sangaboard": {
        (0x2E8A, 0x000A): "RP2040, as on the Sangaboard 0.5",
        (0x2341, 0x8036): "Arduino Leonardo, as on the Sangaboard 0.3",
    },
}


_ASKED_FIRST = "grbl"
"""The driver that unknown ports are listed under, once."""


def boards_on_ports(driver: str) -> list[Found]:
    """Ports whose USB adapter looks like that of a driver's boards. What is really behind is known when it is opened.

    Ports that look like none of them are listed too, under one driver: an adapter may be of another make.

    Args:
        driver: grbl, marlin or sangaboard.
    """
    from serial.tools.list_ports import comports

    known, ports = _USB[driver], sorted(comports())
    found = [
        Found(driver, port.device, known[port.vid, port.pid], {"port": port.device})
        for port in ports
        if (port.vid, port.pid) in known
    ]
    if driver == _ASKED_FIRST:
        every_known = {usb for boards in _USB.values() for usb in boards}
        unknown = [port for port in ports if (port.vid, port.pid) not in every_known]
        found += [Found(driver, port.device, _unknown(port.vid, port.pid), {"port": port.device}) for port in unknown]
    return found


def _unknown(vendor: int | None, product: int | None) -> str:
    name = "" if vendor is None or product is None else f" (USB {vendor:04x}:{product:04x})"
    return f"unknown serial port{name}: if your board is there, try the drivers {', '.join(_USB)} one after the other"
