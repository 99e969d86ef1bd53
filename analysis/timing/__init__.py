"""When things happened: clocks tied together, the lag of the power, and the stretches that are solved."""
