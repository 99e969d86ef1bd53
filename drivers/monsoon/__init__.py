"""Monsoon High Voltage Power Monitor over USB."""
