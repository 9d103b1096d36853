"""Making focus networks. Needs torch (the `train` extra); nothing else in the program does."""
