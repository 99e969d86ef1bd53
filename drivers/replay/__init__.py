"""A stored trace as a meter: to develop without hardware. What it yields is marked as simulated, always."""
