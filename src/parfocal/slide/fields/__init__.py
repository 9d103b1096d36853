"""The fields folder: what a scan writes down, and what every later step reads."""
