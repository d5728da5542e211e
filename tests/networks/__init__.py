"""Tiny networks that several tests share, and inputs for them.

`architectures` has one of each kind, with random weights; `families` the networks of
`jaxinterp.models`, made small; `blocks` modules and loops to trace; `functions` bare
functions to be explained; `images` a network to visualize, and images.
"""
