"""A local rule gives a row the same, whether or not the other rows are there."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.rules import Epsilon, Rule, Stabilizer
from jaxinterp.rules.local import _LOCAL, is_local

# They look at a whole example, have arrays in its shape, or hold other rules.
OTHERS = {
    *(ji.rules.AbsRatio, ji.rules.BetaSmooth, ji.rules.DeconvReLU, ji.rules.GuidedReLU),
    *(ji.rules.Mixture, ji.rules.PatternAttribution, ji.rules.PatternNet),
    *(ji.rules.RectGrad, ji.rules.RedirectedReLU, ji.rules.RelativeInfluence),
    *(ji.rules.Sign, ji.rules.SmoothMaxPool, ji.rules.ZBox, Rule),
}

X = jax.random.normal(jax.random.key(0), (2, 5, 4), jnp.float64)
W = jax.random.normal(jax.random.key(1), (4, 4), jnp.float64)


def gate(x):
    return jax.nn.sigmoid(x) * x


# Functions of the weights, of some rows, and of all of them.
MODELS = {
    "dense": lambda w, rows, x: gate(rows @ w) @ w + 1,
    "normalization": lambda w, rows, x: jax.nn.standardize(rows @ w) * w.sum(),
    "matmul": lambda w, rows, x: jnp.einsum("bqd,bkd->bqk", rows @ w, x),
    "product": lambda w, rows, x: gate(rows @ w) * rows,
    "softmax": lambda w, rows, x: jax.nn.softmax(rows @ w),
    "activation": lambda w, rows, x: jnp.tanh(rows @ w),
}
ROLES = {
    **dict.fromkeys(["Zero", "Epsilon", "Gamma", "AlphaBeta", "ZPlus"], "dense"),
    **dict.fromkeys(["Flat", "WSquare"], "dense"),
    **dict.fromkeys(["FixedStatistics", "FixedStatisticsGradient"], "normalization"),
    **dict.fromkeys(["Uniform", "FixedAttention", "UniformGradient"], "matmul"),
    **{"SignalTakesAll": "product", "Norm": "softmax"},
    **dict.fromkeys(["Pass", "SecantGradient", "Gradient", "Stop"], "activation"),
}


def test_every_rule_is_one_or_the_other():
    exported = {v for v in vars(ji.rules).values() if inspect.isclass(v)}
    assert exported >= _LOCAL
    assert {v for v in exported - _LOCAL if issubclass(v, Rule)} == OTHERS
    assert {rule.__name__ for rule in _LOCAL} == ROLES.keys()
    assert is_local(None)
    assert not is_local(Epsilon(Stabilizer(norm_scale=True)))


@pytest.mark.parametrize("rule", sorted(_LOCAL, key=lambda rule: rule.__name__))
def test_other_rows_change_nothing(rule):
    role = ROLES[rule.__name__]
    lines = [(ji.of_role(role), rule()), ("*", ji.rules.Gradient())]
    model, composite = MODELS[role], ji.rules.Composite(lines)
    whole = ji.with_rules(lambda w, x: model(w, x, x), composite)
    alone = ji.with_rules(lambda w, x: model(w, x[:, 3:4], x), composite)
    outputs, pull = jax.vjp(lambda x: whole(W, x), X)
    row, pull_row = jax.vjp(lambda x: alone(W, x), X)
    np.testing.assert_allclose(row, outputs[:, 3:4], atol=1e-12)
    relevance = pull(jnp.zeros_like(outputs).at[:, 3:4].set(row))[0]
    np.testing.assert_allclose(pull_row(row)[0], relevance, atol=1e-9)
