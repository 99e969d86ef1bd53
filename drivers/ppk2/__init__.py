"""Nordic Power Profiler Kit II: a meter by somebody else's package (extra `ppk2`)."""
