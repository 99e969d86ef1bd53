"""From raw readings to joules with an uncertainty; needs no hardware and can be repeated for ever."""
