"""What a meter's readings mean, found from a load that is known: update, window, delay, memory, gain and zero."""
