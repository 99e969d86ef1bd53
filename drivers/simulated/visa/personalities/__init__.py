"""One file for each simulated instrument, written from its maker's manual."""
