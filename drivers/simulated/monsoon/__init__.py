"""A Monsoon HVPM as it is seen from the USB side."""
