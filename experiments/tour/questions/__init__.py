"""The questions of the tour, one file each."""
