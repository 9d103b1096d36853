"""Z-stacks: recorded, in the public layout, or simulated; and their focus labels."""
