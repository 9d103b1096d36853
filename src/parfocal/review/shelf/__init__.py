"""The slides that are served: found, opened, cut into tiles, described."""
