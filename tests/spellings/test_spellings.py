"""The same function in another spelling has the same explanation, or a named error."""

import dataclasses
import functools
import re
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp import attribution, rules
from tests.spellings import factors, tables
from tests.spellings.tables import random

KINDS, W = tables.KINDS | factors.KINDS, tables.W | factors.W
TARGET = jnp.array([0, 2])

# What is an error in the relevance presets, and what the message names.
ERRORS = {
    ("softmax", "online"): "role quotient",
    ("softmax", "differences"): "role unknown",
    ("attention", "divided last"): "role quotient",
    ("gate", "quotient"): "role quotient",
    **factors.ERRORS,
}


# Computed in float32 by JAX itself, whatever the dtype of the model.
IN_FLOAT32 = "dot_product_attention"


def exact(composite):
    """Without stabilizers, which depend on where one site ends and the next begins."""
    lines = []
    for selector, rule in composite.lines:
        fields = {field.name for field in dataclasses.fields(rule)}
        if "epsilon" in fields:
            rule = dataclasses.replace(rule, epsilon=1e-14)
        lines.append((selector, rule))
    return rules.Composite(lines)


OF_ALL_KINDS = {
    "epsilon_plus_flat": rules.epsilon_plus_flat(),
    "attn_lrp": rules.attn_lrp(),
}
OF_SOME_KINDS = {
    "deep_taylor in a box": rules.deep_taylor(-9.0, 9.0),
    "epsilon_plus": rules.epsilon_plus(),
    "epsilon_alpha2_beta1": rules.epsilon_alpha2_beta1(),
    "epsilon_alpha2_beta1_flat": rules.epsilon_alpha2_beta1_flat(),
    "epsilon_gamma_box": rules.epsilon_gamma_box(-9.0, 9.0),
    "excitation_backprop": rules.excitation_backprop(),
    "deep_taylor": rules.deep_taylor(),
    "cp_lrp": rules.cp_lrp(),
    "guided_backprop": rules.guided_backprop(),
    "deconvnet": rules.deconvnet(),
}
GRADIENTS = ("guided_backprop", "deconvnet")
VALUES = "values"


@pytest.fixture(autouse=True)
def as_models_are_written() -> Iterator[None]:
    """Lets arrays of unlike rank broadcast, as they do in most models."""
    with jax.numpy_rank_promotion("allow"):
        yield


def network(kind, spelling):
    """The function between two dense layers, or at the input."""
    size = int(np.prod(kind.shape))

    def apply_fn(w, x):
        h = x if kind.first else (x.reshape(len(x), -1) @ w["stem"]).reshape(x.shape)
        h = spelling(w, h)
        return jax.nn.relu(h.reshape(len(h), -1) @ w["mid"]) @ w["head"]

    x = random(30, 2, *kind.shape)
    width = int(np.prod(jax.eval_shape(lambda h: spelling(W, h), x).shape[1:]))
    layers = {
        "stem": random(20, size, size) / np.sqrt(size),
        "mid": random(21, width, 7),
        "head": random(22, 7, 3),
    }
    return apply_fn, W | layers, x


def explanations(kind, spelling, composites):
    """The values of that step, and what each composite says, compiled at once."""
    apply_fn, w, x = network(kind, spelling)
    h = random(31, 2, *kind.shape)

    def all_of_them(w, x, h):
        return {VALUES: spelling(w, h)} | {
            name: attribution.lrp(apply_fn, composite=exact(composite))(w, x, TARGET)
            for name, composite in composites.items()
        }

    # With JAX 0.12 on CPU, what is fused with strided slices of a small product comes
    # out wrong: the same program is right eagerly, unfused, and with JAX 0.10.
    is_sliced = kind is KINDS["max pooling"]
    options = {"xla_disable_hlo_passes": "fusion"} if is_sliced else {}
    return jax.jit(all_of_them, compiler_options=options)(w, x, h)


def composites_of(kind):
    """Two methods for every kind, and two more, of which each meets a fifth of them."""
    others = list(OF_SOME_KINDS.items())[list(KINDS).index(kind) % 5 :: 5]
    return OF_ALL_KINDS | dict(others)


@functools.cache
def usual(kind):
    spelling = next(iter(KINDS[kind].spellings.values()))
    return explanations(KINDS[kind], spelling, composites_of(kind))


SPELLINGS = [
    pytest.param(kind, name, id=f"{kind}: {name}")
    for kind, table in KINDS.items()
    for name in list(table.spellings)[1:]
]


@pytest.mark.parametrize(("kind", "name"), SPELLINGS)
def test_another_spelling_has_the_same_explanation(kind, name):
    table = KINDS[kind]
    spelling = table.spellings[name]
    rtol = 1e-5 if name == IN_FLOAT32 else 1e-9
    composites = composites_of(kind)
    if (kind, name) in ERRORS:
        message = re.escape(ERRORS[kind, name])
        for method in composites.keys() - set(GRADIENTS):
            with pytest.raises(NotImplementedError, match=message):
                explanations(table, spelling, {method: composites[method]})
        composites = {}
    if (kind, name) in factors.HIDDEN:
        for method in composites.keys() & set(GRADIENTS):
            with pytest.raises(NotImplementedError, match="multiplies an activation"):
                explanations(table, spelling, {method: composites[method]})
        composites = {m: c for m, c in composites.items() if m not in GRADIENTS}
    received = explanations(table, spelling, composites)
    assert received.keys() == {VALUES, *composites}
    for what, value in received.items():
        expected = usual(kind)[what]
        scale = np.abs(expected).max()
        np.testing.assert_allclose(
            value, expected, rtol=0, atol=rtol * scale, err_msg=what
        )


def test_every_kind_has_at_least_eight_spellings():
    assert {kind for kind, table in KINDS.items() if len(table.spellings) < 8} == set()
