"""Tests of `jaxinterp`; the folders mirror the package."""
