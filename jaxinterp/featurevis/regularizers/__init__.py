"""Penalties that keep images from being noise."""
