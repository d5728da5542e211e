"""How a long computation runs: the one place that decides."""
