"""The agent: what is copied to a board and runs models there, as one file (a zip that Python executes).

It stands alone (Python >= 3.6, standard library; numpy and the runtime only once a model is loaded), so that a
board needs no installation. It runs detached, stamps inferences on CLOCK_MONOTONIC, raises the marker pin while
busy, keeps results in its own directory, and ends by itself when nobody has spoken to it for its lease: an orphan
must not heat the board for ever.
Only relative imports here: on the board there is no `harness`. Contract: docs/agent.md.
"""
