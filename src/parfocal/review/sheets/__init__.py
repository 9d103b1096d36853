"""What a reader fills in: fields to look at, a form, and every entry kept as it was made."""
