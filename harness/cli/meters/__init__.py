"""Bodies of `joulebench meters ...`: what is plugged in, what it reads, whether it is well, how it behaves."""
