"""How the numbers that are optimized become images; one file a parametrization."""
