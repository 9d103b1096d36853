"""A virtual slide as other programs read it: a small writer for each format, over one pyramid."""
