"""Energy per layer: least squares of readings on the overlap of readings with kernels."""
