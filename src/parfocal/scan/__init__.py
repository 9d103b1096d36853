"""A scan: from a plan over the slide to a folder of focused fields."""
