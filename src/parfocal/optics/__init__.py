"""Light: arrays in, arrays out. Knows no device."""
