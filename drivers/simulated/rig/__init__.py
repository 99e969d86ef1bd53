"""The simulated bench: physics, worlds, and the truth the pipeline cannot see."""
