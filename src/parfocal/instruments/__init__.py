"""Instruments that come with Parfocal, each a TOML file; they go by name."""
