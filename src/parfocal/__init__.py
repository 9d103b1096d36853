"""Parfocal: open whole-slide imaging for low-cost motorised microscopes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Instrument", "Slide", "__version__", "focus_field", "open_microscope", "scan"]

if TYPE_CHECKING:
    from parfocal.api import Instrument, Slide, focus_field, open_microscope, scan


def __getattr__(name: str) -> Any:
    """Load the API when it is first used: the command line starts without image codecs and network runtime."""
    if name in __all__:
        from parfocal import api

        globals()[name] = getattr(api, name)  # over the subpackage of the same name, which the import bound
        return globals()[name]
    raise AttributeError(f"module 'parfocal' has no attribute {name!r}")
