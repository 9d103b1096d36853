"""The paper's contribution: how far away is the focus, and on which side."""
