"""What the units of a network look for: optimized pictures beside real examples."""
