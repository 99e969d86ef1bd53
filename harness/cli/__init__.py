"""The joulebench command: a composition root that imports everything lazily."""
