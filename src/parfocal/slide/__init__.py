"""From a folder of fields to a virtual slide; needs no instrument."""
