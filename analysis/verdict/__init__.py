"""May a figure be given at all? Reasons to refuse, flags, and whether power has settled."""
