"""The microscope as its page sees it: live view, jog, scans that can be paused."""
