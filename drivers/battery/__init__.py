"""A laptop's or handheld's own battery as a meter: what the kernel's power_supply class shows while it discharges."""
