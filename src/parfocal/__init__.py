"""Parfocal: open whole-slide imaging for low-cost motorised microscopes."""

__version__ = "0.1.0"
