"""Joulescope JS220 and JS110: meters by their maker's package (extra `joulescope`)."""
