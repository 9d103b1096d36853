"""Cameras that give pictures at a URL: IP cameras, mjpg-streamer, a Raspberry Pi."""
