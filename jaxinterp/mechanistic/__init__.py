"""What a network computes, and by which of its parts: edges, circuits, lenses."""

from jaxinterp.mechanistic.circuit import Circuit as Circuit
from jaxinterp.mechanistic.circuit import EvaluateCircuit as EvaluateCircuit
from jaxinterp.mechanistic.circuit import evaluate_circuit as evaluate_circuit
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
