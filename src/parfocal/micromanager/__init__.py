"""Parfocal inside Micro-Manager: our instruments as its devices, our autofocus in its acquisitions, plans both ways."""
