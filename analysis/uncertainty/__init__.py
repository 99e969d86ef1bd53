"""How parts of the uncertainty combine, what to improve first, and how two results compare."""
