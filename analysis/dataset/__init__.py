"""The dataset: energies of layers and networks of finished runs, with features, conditions and provenance."""
