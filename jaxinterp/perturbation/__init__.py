"""What is taken away from an input, and what takes its place."""

from jaxinterp.perturbation.segments import grid_segments as grid_segments
from jaxinterp.perturbation.segments import segment_sums as segment_sums
