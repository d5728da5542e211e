"""DeepLIFT of the same function in another spelling, or a named error."""

import functools

import jax
import numpy as np
import pytest

from jaxinterp.attribution import deep_lift
from jaxinterp.rules.deep_lift import NoMultiplierError
from tests.compiled import compiled
from tests.spellings.test_spellings import (
    IN_FLOAT32,
    KINDS,
    SPELLINGS,
    TARGET,
    network,
)

HIDES, PART = "hides its logits", "in an unusual spelling"
ERRORS = {
    ("softmax", "a power"): HIDES,
    ("softmax", "expm1"): HIDES,
    ("softmax", "one over"): HIDES,
    ("softmax", "squared halves"): HIDES,
    ("softmax", "a root of its square"): HIDES,
    ("softmax", "a power of its root"): HIDES,
    ("softmax", "online"): PART,
    ("softmax", "differences"): PART,
    ("attention", "divided last"): PART,
    ("gate", "quotient"): PART,
    **{
        ("silu gate", name): "multiplies an activation by its own input"
        for name in ("factor inside", "factor first", "gate last", "product inside")
    },
    **{
        ("relu gate", name): "it chooses by values"
        for name in ("choice last", "choice turned", "mask last", "mask between")
    },
    ("biased attention", "a factor afterwards"): PART,
    ("biased attention", "a factor of exponentials"): PART,
    ("unit norm", "where"): "it chooses by values",
    ("max pooling", "sorted"): "sort is neither linear",
}


# Of the other kinds the derivative of JAX is the multiplier, in any spelling.
LINEAR = (
    *("dense", "bias", "depthwise", "padding", "batch norm", "average pooling"),
    *("rotary", "residual", "dropout off", "masked", "token shift", "subtracted"),
    *("set below", "windows by masks"),
)
NONLINEAR = [case for case in SPELLINGS if not case.values[0].startswith(LINEAR)]
# A third of them, which all were equal, and every error.
CHOSEN = [
    case
    for number, case in enumerate(NONLINEAR)
    if number % 3 == 0 or tuple(case.values) in ERRORS
]


@pytest.fixture(autouse=True)
def as_models_are_written():
    """Lets arrays of unlike rank broadcast, as they do in most models."""
    with jax.numpy_rank_promotion("allow"):
        yield


def explanation(kind, name):
    """Attributions of a network with that step, from a baseline that is not zero."""
    apply_fn, w, x = network(KINDS[kind], KINDS[kind].spellings[name])
    return compiled(deep_lift(apply_fn, baseline=0.3))(w, x, TARGET)


@functools.cache
def usual(kind):
    return explanation(kind, next(iter(KINDS[kind].spellings)))


@pytest.mark.parametrize(("kind", "name"), CHOSEN)
def test_another_spelling_has_the_same_explanation(kind, name):
    if (kind, name) in ERRORS:
        with pytest.raises(NoMultiplierError, match=ERRORS[kind, name]):
            explanation(kind, name)
        return
    rtol = 1e-5 if name == IN_FLOAT32 else 1e-9
    scale = np.abs(usual(kind)).max()
    np.testing.assert_allclose(
        explanation(kind, name), usual(kind), rtol=0, atol=rtol * scale
    )
