"""Tests of `jaxinterp.tracing`."""
