"""Things that move or expose."""
