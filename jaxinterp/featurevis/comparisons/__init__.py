"""Objectives that compare images: with others, or within a group."""
