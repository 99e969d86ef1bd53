"""What a board is in: read, checked, set and put back, all through small files of the board."""
