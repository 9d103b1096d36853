"""Stages on a serial line: boards that speak G-code (GRBL 1.1, Marlin), and the Sangaboard."""
