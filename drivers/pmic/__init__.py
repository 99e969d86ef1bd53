"""The Raspberry Pi 5's power management chip: volts and amperes of its regulators, printed by vcgencmd."""
