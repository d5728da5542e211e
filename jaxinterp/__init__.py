"""Interprets neural networks in JAX: pure functions from functions to functions.

`trace` shows a model as a graph; `capture`, `intervene`, `with_rules` and `split` read
and change it without editing it; `attribution` says which inputs an output depends on,
`featurevis` which inputs a unit responds to.
"""

from jaxinterp import attribution as attribution
from jaxinterp import data as data
from jaxinterp import featurevis as featurevis
from jaxinterp import models as models
from jaxinterp import rules as rules
from jaxinterp.attribution.ledger import ledger as ledger
from jaxinterp.rules.composite import plan as plan
from jaxinterp.trace.backward import with_rules as with_rules
from jaxinterp.trace.transform import capture as capture
from jaxinterp.trace.transform import intervene as intervene
from jaxinterp.trace.transform import split as split
from jaxinterp.trace.transform import trace as trace
