"""The power management chip of a Raspberry Pi 5, read by vcgencmd."""
