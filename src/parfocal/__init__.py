"""Parfocal: open whole-slide imaging for low-cost motorised microscopes."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Instrument", "Slide", "__version__", "collect", "focus_field", "open_microscope", "rescan", "scan"]

if TYPE_CHECKING:
    from parfocal.api import Instrument, Slide, collect, focus_field, open_microscope, rescan, scan


def __getattr__(name: str) -> Any:
    """Load the API when it is first used: the command line starts without image codecs and network runtime."""
    if name in __all__:
        from parfocal import api

        globals()[name] = getattr(api, name)
        return globals()[name]
    raise AttributeError(f"module 'parfocal' has no attribute {name!r}")


class _Package(ModuleType):
    """`parfocal.scan` is the function, whether the subpackage of that name was imported before, after or never."""

    @property
    def scan(self) -> Any:
        from parfocal import api

        return api.scan

    @scan.setter
    def scan(self, _subpackage: ModuleType) -> None:
        """The import of the subpackage would bind it here; `from parfocal.scan.plan import …` does not need that."""


sys.modules[__name__].__class__ = _Package
