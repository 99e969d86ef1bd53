"""Boards reached over SSH: the user's own configuration and keys, strict host keys, and links that come and go."""
