"""Interprets neural networks in JAX: pure functions from functions to functions.

`trace` shows a model as a graph; `capture`, `intervene`, `with_rules` and `split` read
and change it without editing it; `at`, `first`, `last`, `layers`, `of_role`,
`of_primitive` and `where` say which places of it are meant. `attribution` says which
inputs an output depends on and `metrics` how good such an answer is, `featurevis` which
inputs a unit responds to, `building_blocks` what a layer sees and what for, `concepts`
what a feature does overall, `mechanistic` by which of its parts a network computes an
output, `adversarial` how little change fools a model, `influence` which training
examples a prediction rests on, `labels` which labels are wrong, `trust` what has to
hold before a model is trusted, `perturbation` what is taken away together, and
`objectives` holds what they may explain, measure, maximize or lower.
"""

from jaxinterp import adversarial as adversarial
from jaxinterp import attribution as attribution
from jaxinterp import building_blocks as building_blocks
from jaxinterp import concepts as concepts
from jaxinterp import data as data
from jaxinterp import featurevis as featurevis
from jaxinterp import influence as influence
from jaxinterp import labels as labels
from jaxinterp import mechanistic as mechanistic
from jaxinterp import metrics as metrics
from jaxinterp import models as models
from jaxinterp import objectives as objectives
from jaxinterp import perturbation as perturbation
from jaxinterp import rules as rules
from jaxinterp import trust as trust
from jaxinterp.attribution.relevance.ledger import ledger as ledger
from jaxinterp.rules.plan import plan as plan
from jaxinterp.tracing.call import trace as trace
from jaxinterp.tracing.capture import capture as capture
from jaxinterp.tracing.intervene import intervene as intervene
from jaxinterp.tracing.selectors import at as at
from jaxinterp.tracing.selectors import first as first
from jaxinterp.tracing.selectors import last as last
from jaxinterp.tracing.selectors import layers as layers
from jaxinterp.tracing.selectors import of_primitive as of_primitive
from jaxinterp.tracing.selectors import of_role as of_role
from jaxinterp.tracing.selectors import where as where
from jaxinterp.tracing.split import split as split
from jaxinterp.tracing.with_rules import with_rules as with_rules
