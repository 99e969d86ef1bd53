"""Other people's measurements become ordinary run directories; the analysis does not know where they came from."""
