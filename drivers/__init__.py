"""Meters: one folder each, with a pure codec and a thin meter class."""
