"""Monsoon power monitors: HVPM and LVPM over USB, and the LVPM's old serial firmware."""
