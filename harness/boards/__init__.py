"""Boards and the agent that runs on them."""
