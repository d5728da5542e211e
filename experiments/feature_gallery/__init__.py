"""What the units of a network look for: optimized images beside real examples."""
