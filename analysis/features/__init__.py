"""Features of layers: what each executed kernel computes and moves. One record for all energy models."""
