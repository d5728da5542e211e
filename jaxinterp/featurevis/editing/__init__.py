"""Images made of other images."""
