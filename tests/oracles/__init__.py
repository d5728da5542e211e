"""Oracles: the methods again, in NumPy float64, slow and literal.

Nothing here imports JAX or the package under test: an oracle cannot share its mistakes.
"""
