"""Random views in which an image is scored: one file for each transform.

A new one is a file with a frozen dataclass, a `Transform` or an `Affine` one, and the
function that makes it; a line in `featurevis/__init__.py`, and one in the table of
`docs/api/featurevis/transforms.md`.
"""
