"""From a name or a TOML file to an instrument that is ready to use."""

from parfocal.config.instrument import DEFAULT_SPECIMEN, Instrument, open_lamp, open_microscope, shipped_network
from parfocal.config.simulated import specimen_names
from parfocal.config.tables import instrument_names

__all__ = [
    "DEFAULT_SPECIMEN", "Instrument", "instrument_names", "open_lamp", "open_microscope", "shipped_network",
    "specimen_names",
]  # fmt: skip
