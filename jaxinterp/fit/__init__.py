"""Small models that are fitted to activations and to scores."""
