"""Where each field lies: neighbours compared, what chance does, all positions at once."""
