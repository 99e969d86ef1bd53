"""Procedures of a bench: preflight, acquisition, one run, a whole campaign."""
