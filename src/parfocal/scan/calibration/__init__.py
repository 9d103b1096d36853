"""What an instrument can tell about itself: measured once and kept in a file, and checked again before each scan."""

from parfocal.scan.calibration.slack_check import CHECK_IMAGES, FAR_EXCESS_UM, MAX_EXCESS_UM, check_backlash

__all__ = ["CHECK_IMAGES", "FAR_EXCESS_UM", "MAX_EXCESS_UM", "check_backlash"]
