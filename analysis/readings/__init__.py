"""From raw integers of a meter to a curve of energy: what was read, what was lost, what was cut off."""
