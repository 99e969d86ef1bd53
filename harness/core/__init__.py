"""The nouns of a measurement, shared by every other part: standard library and numpy only."""
