"""Whether explanations find what is known to be true."""
