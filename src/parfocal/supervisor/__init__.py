"""A small process beside a scan that puts the lamp out when the scan no longer can."""
