"""The light of a scan: vignetting, white balance, exposures that differ."""
