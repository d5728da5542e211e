"""Every attribution method that there is, in the order of the tables."""

from __future__ import annotations

from typing import Any

import jaxinterp as ji
from jaxinterp.attribution import Attribution
from jaxinterp.types import ApplyFn

SAMPLES = 25
STEPS = 25
AT_ONCE = 5


def methods(
    apply_fn: ApplyFn, low: Any = None, high: Any = None
) -> dict[str, Attribution]:
    """Returns the methods by name.

    Args:
        apply_fn: the network.
        low: smallest possible input, for the rules that want it; without bounds these
            are left out.
        high: largest possible input.
    """
    a, rules = ji.attribution, ji.rules
    gradient = a.gradient(apply_fn)

    def smooth(statistic: Any) -> Attribution:
        return a.smooth(
            gradient, samples=SAMPLES, statistic=statistic, batch_size=AT_ONCE
        )

    found = {
        "gradient": gradient,
        "saliency": a.saliency(apply_fn),
        "SmoothGrad": smooth("mean"),
        "SmoothGrad²": smooth("square"),
        "VarGrad": smooth("variance"),
        "deconvnet": a.deconvnet(apply_fn),
        "guided backprop": a.guided_backprop(apply_fn),
        "input x gradient": a.input_x_gradient(apply_fn),
        "integrated gradients": a.integrated_gradients(
            apply_fn, steps=STEPS, batch_size=AT_ONCE
        ),
    }
    composites = {
        "epsilon plus": rules.epsilon_plus(),
        "epsilon plus flat": rules.epsilon_plus_flat(),
        "epsilon alpha2 beta1": rules.epsilon_alpha2_beta1(),
        "epsilon alpha2 beta1 flat": rules.epsilon_alpha2_beta1_flat(),
        "excitation backprop": rules.excitation_backprop(),
        "AttnLRP": rules.attn_lrp(),
    }
    if low is not None:
        composites["epsilon gamma box"] = rules.epsilon_gamma_box(low, high)
    for name, composite in composites.items():
        found[f"LRP {name}"] = a.lrp(apply_fn, composite=composite)
    hidden = {"size": 1} if low is None else {"size": 8, "baseline": (low + high) / 2}
    found["DeepLIFT"] = a.deep_lift(apply_fn)
    found["occlusion"] = a.occlusion(apply_fn, **hidden)
    found["deep Taylor"] = a.deep_taylor(apply_fn, low=low, high=high)
    return found
