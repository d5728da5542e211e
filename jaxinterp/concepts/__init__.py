"""What a model does overall: the effect of each feature, and of concepts."""

from jaxinterp.concepts.global_effects import Curves as Curves
from jaxinterp.concepts.global_effects import SensitivityIndices as SensitivityIndices
from jaxinterp.concepts.global_effects import ice as ice
from jaxinterp.concepts.global_effects import partial_dependence as partial_dependence
from jaxinterp.concepts.global_effects import (
    permutation_importance as permutation_importance,
)
from jaxinterp.concepts.global_effects import sobol_indices as sobol_indices
