"""Tests of `jaxinterp.attribution`."""
