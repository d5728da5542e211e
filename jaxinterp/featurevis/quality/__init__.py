"""How good an optimized image is, in numbers."""
