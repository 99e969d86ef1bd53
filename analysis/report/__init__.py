"""What people look at: a self-contained HTML page of a run or of a campaign, its figures, and a trace for Perfetto."""
