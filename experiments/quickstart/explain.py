"""Every attribution method on the same images, and what it should add up to."""

from __future__ import annotations

import time
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

import jaxinterp as ji
from experiments.quickstart.config import Config
from jaxinterp.attribution import Attribution
from jaxinterp.types import ApplyFn

REPEATS = 3


class Method(NamedTuple):
    """A method, and what the attributions of one image should add up to.

    Attributes:
        attribute: the attribution function.
        adds_up_to: the score, its difference to the baseline's, or nothing.
    """

    attribute: Attribution
    adds_up_to: Literal["score", "difference"] | None = None


class Explanation(NamedTuple):
    """What a method said about a batch.

    Attributes:
        attributions: in the shape of the images.
        compile_seconds: for the whole batch, once.
        seconds: for one image.
    """

    attributions: np.ndarray
    compile_seconds: float
    seconds: float


def methods(apply_fn: ApplyFn, config: Config) -> dict[str, Method]:
    """Returns the methods by name, in the order of the figure.

    Args:
        apply_fn: the network.
        config: the settings; `samples` and `at_once` matter here.
    """
    a, rules = ji.attribution, ji.rules
    gradient = a.gradient(apply_fn)

    def smooth(statistic: Any) -> Method:
        return Method(
            a.smooth(
                gradient,
                samples=config.samples,
                statistic=statistic,
                batch_size=config.at_once,
            )
        )

    def lrp(composite: rules.Composite) -> Method:
        return Method(a.lrp(apply_fn, composite=composite), "score")

    return {
        "gradient": Method(gradient),
        "saliency": Method(a.saliency(apply_fn)),
        "SmoothGrad": smooth("mean"),
        "SmoothGrad²": smooth("square"),
        "VarGrad": smooth("variance"),
        "deconvnet": Method(a.deconvnet(apply_fn)),
        "guided\nbackprop": Method(a.guided_backprop(apply_fn)),
        "input x\ngradient": Method(a.input_x_gradient(apply_fn), "score"),
        "integrated\ngradients": Method(
            a.integrated_gradients(
                apply_fn, steps=config.samples, batch_size=config.at_once
            ),
            "difference",
        ),
        "LRP epsilon\nplus": lrp(rules.epsilon_plus()),
        "LRP epsilon\nplus flat": lrp(rules.epsilon_plus_flat()),
        "LRP epsilon\nalpha2 beta1": lrp(rules.epsilon_alpha2_beta1()),
        "LRP epsilon\ngamma box": lrp(rules.epsilon_gamma_box(low=0.0, high=1.0)),
        "deep Taylor\nbounded": Method(
            a.deep_taylor(apply_fn, low=0.0, high=1.0), "score"
        ),
    }


def explain(
    attribute: Attribution, variables: Any, images: Any, target: Any, key: Any
) -> Explanation:
    """Compiles a method, then times it.

    Args:
        attribute: the attribution function.
        variables: those of the network.
        images: a batch.
        target: the class to explain, for each.
        key: for methods that draw noise.
    """
    start = time.perf_counter()
    compiled = jax.jit(attribute).lower(variables, images, target, key).compile()
    compile_seconds = time.perf_counter() - start
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        attributions = compiled(variables, images, target, key).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return Explanation(
        np.asarray(attributions), compile_seconds, min(seconds) / len(images)
    )
