"""Tests of `jaxinterp.featurevis`."""
