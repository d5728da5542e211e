"""Objectives that compare images: with others, or within a group.

Notation: $a$ is the activation of a site for the image that is made, $t$ that for the
image it is compared with, which `capture` returns, and $a_i$ that of image $i$ of the
$n$ images that are made for one unit. Sums without an index run over all entries.
"""
