"""Which rules go back through each row of an activation by what that row alone holds.

So what a model does not read of an activation need not be computed for them.
"""

from __future__ import annotations

import dataclasses

from jaxinterp.rules.affine import Epsilon, Gamma, Zero
from jaxinterp.rules.any_site import FixedStatistics, Gradient, Norm, Pass, Stop
from jaxinterp.rules.coefficients import (
    FixedStatisticsGradient,
    SecantGradient,
    UniformGradient,
)
from jaxinterp.rules.first_layer import Flat, WSquare
from jaxinterp.rules.products import FixedAttention, SignalTakesAll, Uniform
from jaxinterp.rules.rule import Rule
from jaxinterp.rules.signed import AlphaBeta, ZPlus
from jaxinterp.rules.stabilize import Stabilizer

_LOCAL = frozenset(
    {
        *(Zero, Epsilon, Gamma, AlphaBeta, ZPlus, Flat, WSquare),
        *(Gradient, Pass, Stop, Norm, FixedStatistics),
        *(Uniform, FixedAttention, SignalTakesAll),
        *(FixedStatisticsGradient, SecantGradient, UniformGradient),
    }
)


def is_local(rule: Rule | None) -> bool:
    """Whether a rule computes the relevance of a row from that row of the site.

    Rules that look at a whole example, such as bounds that are taken from it, are not
    local, and neither is a rule of the user's own: nobody knows what it looks at.

    Args:
        rule: a rule, or `None` for the derivative.
    """
    if rule is None:
        return True
    fields = dataclasses.fields(rule) if dataclasses.is_dataclass(rule) else ()
    values = [getattr(rule, field.name) for field in fields]
    is_scaled = any(isinstance(v, Stabilizer) and v.norm_scale for v in values)
    return type(rule) in _LOCAL and not is_scaled
