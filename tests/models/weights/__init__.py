"""Tests of `jaxinterp.models.weights`."""
