"""What is taken away from an input, and what takes its place."""
