"""A stored trace, played again as a meter."""
