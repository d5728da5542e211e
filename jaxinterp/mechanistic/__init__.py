"""What a network computes, and by which of its parts: edges, circuits, lenses.

`edges` and `activation_patching` measure what a part of a network contributes to the
difference between two inputs, `evaluate_circuit` how much a set of edges computes
alone, `logit_lens` and `direct_logit_attribution` what a state or a part says about the
output, and `train_dictionary` finds the directions that an activation is made of.
"""

from jaxinterp.mechanistic.circuit import Circuit as Circuit
from jaxinterp.mechanistic.circuit import EvaluateCircuit as EvaluateCircuit
from jaxinterp.mechanistic.circuit import evaluate_circuit as evaluate_circuit
from jaxinterp.mechanistic.dictionary import DictionaryQuality as DictionaryQuality
from jaxinterp.mechanistic.dictionary import SparseAutoencoder as SparseAutoencoder
from jaxinterp.mechanistic.dictionary import TrainedDictionary as TrainedDictionary
from jaxinterp.mechanistic.dictionary import dictionary_quality as dictionary_quality
from jaxinterp.mechanistic.dictionary import train_dictionary as train_dictionary
from jaxinterp.mechanistic.edges import Edges as Edges
from jaxinterp.mechanistic.edges import MeasureEdges as MeasureEdges
from jaxinterp.mechanistic.edges import edges as edges
from jaxinterp.mechanistic.lens import AttributeDirectly as AttributeDirectly
from jaxinterp.mechanistic.lens import DirectAttribution as DirectAttribution
from jaxinterp.mechanistic.lens import (
    direct_logit_attribution as direct_logit_attribution,
)
from jaxinterp.mechanistic.lens import logit_lens as logit_lens
from jaxinterp.mechanistic.patching import MeasurePatches as MeasurePatches
from jaxinterp.mechanistic.patching import Patched as Patched
from jaxinterp.mechanistic.patching import activation_patching as activation_patching
