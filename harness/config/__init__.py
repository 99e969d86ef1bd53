"""Campaign, bench, board and meter files: strict loading, resolution into RunSpecs."""
