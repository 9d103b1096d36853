"""Network addresses as text."""

from __future__ import annotations

import ipaddress


def is_address(text: str) -> bool:
    """Whether this is an address of IP."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_loopback(text: str) -> bool:
    """Whether this is an address that only this computer can reach."""
    return is_address(text) and ipaddress.ip_address(text).is_loopback
