"""Regularizers: what an image costs, to be subtracted from an objective.

Each is an objective that reads the images $x$ themselves, before any transform, and
gives one number per image, at least 0: `channel("mixed4a", 3) - 0.25 *
total_variation()`. Images may have any rank, with channels last; sums are over all
entries of one image, so that a weight that fits one size is too weak for a smaller.
"""
