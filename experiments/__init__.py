"""Runnable claims, a folder each: `python -m experiments.quickstart`."""
