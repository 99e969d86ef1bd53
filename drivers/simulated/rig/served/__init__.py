"""The meters of a simulated bench in real time: one file a kind of meter, and the registry that finds them."""
