"""The other side of each wire: simulated meters and the rig that drives them."""
