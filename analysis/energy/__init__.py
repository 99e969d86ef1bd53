"""Energy of an inference, its gap and standby, and how well each is known."""
