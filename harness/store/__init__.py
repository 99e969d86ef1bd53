"""The run directory: written once, read by everybody."""
