"""Models under test: zoo topologies, generated networks, files, their inputs and reference outputs."""
