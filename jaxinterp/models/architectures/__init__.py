"""Common networks, one architecture a file, and what several of them share.

Shared are `attention`, `norms` and `pooling`, and the dense layers of `mlp`.
"""
