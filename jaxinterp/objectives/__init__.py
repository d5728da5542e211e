"""Which number is explained, maximized or measured: scores of outputs, objectives.

- `score`: scores of the outputs, one for each example; `scale_free`: one that does
  not depend on their scale; `output`: objectives of outputs.
- `seed`: what a backward pass starts with, of a score.
- `objective`: what an objective is, and its algebra; `by_name`: objectives as strings.
- `explained`: a score or an objective, for attribution methods.
- `unit`, `direction`, `positions`, `whitening`: what an objective reads of activations.
- `reader` runs a model for its objectives; `evaluate` and `scorer` compute the scores
  of many units at once.
"""

from jaxinterp.objectives.by_name import as_objective as as_objective
from jaxinterp.objectives.direction import direction as direction
from jaxinterp.objectives.objective import Objective as Objective
from jaxinterp.objectives.objective import View as View
from jaxinterp.objectives.objective import custom as custom
from jaxinterp.objectives.objective import schedule as schedule
from jaxinterp.objectives.output import output as output
from jaxinterp.objectives.scale_free import (
    difference_of_logits_ratio as difference_of_logits_ratio,
)
from jaxinterp.objectives.score import Score as Score
from jaxinterp.objectives.score import contrastive as contrastive
from jaxinterp.objectives.score import log_probability as log_probability
from jaxinterp.objectives.score import logit as logit
from jaxinterp.objectives.score import margin as margin
from jaxinterp.objectives.score import probability as probability
from jaxinterp.objectives.score import total as total
from jaxinterp.objectives.seed import Seed as Seed
from jaxinterp.objectives.seed import contrastive_seed as contrastive_seed
from jaxinterp.objectives.seed import relevance_seed as relevance_seed
from jaxinterp.objectives.seed import softmax_gradient_seed as softmax_gradient_seed
from jaxinterp.objectives.unit import channel as channel
from jaxinterp.objectives.unit import layer as layer
from jaxinterp.objectives.unit import neuron as neuron
from jaxinterp.objectives.whitening import whitened as whitened
