"""What a virtual slide says of its quality: field by field, and as a whole."""
