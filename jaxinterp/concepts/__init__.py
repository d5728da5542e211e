"""What a model does overall: the effect of each feature, and of concepts."""

from jaxinterp.concepts.concept_vector import ConceptVector as ConceptVector
from jaxinterp.concepts.concept_vector import concept_vector as concept_vector
from jaxinterp.concepts.dissect import Dissection as Dissection
from jaxinterp.concepts.dissect import dissect as dissect
from jaxinterp.concepts.global_effects import Curves as Curves
from jaxinterp.concepts.global_effects import SensitivityIndices as SensitivityIndices
from jaxinterp.concepts.global_effects import ice as ice
from jaxinterp.concepts.global_effects import partial_dependence as partial_dependence
from jaxinterp.concepts.global_effects import (
    permutation_importance as permutation_importance,
)
from jaxinterp.concepts.global_effects import sobol_indices as sobol_indices
from jaxinterp.concepts.tcav import TCAV as TCAV
from jaxinterp.concepts.tcav import Significance as Significance
from jaxinterp.concepts.tcav import holm as holm
from jaxinterp.concepts.tcav import rank_test as rank_test
from jaxinterp.concepts.tcav import tcav as tcav
