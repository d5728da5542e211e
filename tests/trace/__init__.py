"""Tests of `jaxinterp.trace`."""
