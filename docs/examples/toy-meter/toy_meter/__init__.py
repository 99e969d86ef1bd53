"""A driver of joulebench that lives in a package of its own: the Toy W1."""
