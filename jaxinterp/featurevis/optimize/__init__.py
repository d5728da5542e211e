"""Images made by gradient ascent."""
