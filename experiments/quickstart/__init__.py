"""Trains a small network on digits and explains it with every attribution method."""
