"""Sphinx settings."""

from parfocal import __version__

project = "Parfocal"
author = "The Parfocal authors"
copyright = author
release = version = __version__

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

html_theme = "alabaster"
html_theme_options = {
    "description": "Open whole-slide imaging for low-cost motorised microscopes",
    "fixed_sidebar": True,
    "page_width": "1080px",
}
html_show_sourcelink = False
