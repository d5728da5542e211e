"""Tests of `jaxinterp.rules`."""
