"""What a scan and its supervisor say to each other: single bytes through pipes."""

BEAT = b"."
LIT = b"+"
"""Said before the lamp is lit."""

DARK = b"-"
"""Said after the lamp was put out."""

READY = b"!"
"""Said by the supervisor when it can put out a lamp."""
