"""A mixture of rules is the mean of what they send, and keeps their books."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxinterp as ji
from jaxinterp import rules
from jaxinterp.objectives import total
from tests.proposals import proposals

from .replay import relevance_through

RNG = np.random.default_rng(0)
A, B, R = RNG.normal(size=(3, 3, 4))
W = {"stem": RNG.normal(size=(4, 5)), "bias": RNG.normal(size=5)}
W |= {"head": RNG.normal(size=(5, 2))}


def network(w, x):
    return jax.nn.relu(x @ w["stem"] + w["bias"][None]) @ w["head"]


def test_a_mixture_is_the_weighted_mean_of_its_rules():
    parts = [(0.5, rules.Epsilon(0.1)), (0.3, rules.ZPlus()), (0.2, rules.Flat())]
    relevance = RNG.normal(size=(3, 5))
    found, *each = (
        relevance_through(lambda w, x: x @ w["stem"], rule, W, A, relevance)
        for rule in (rules.Mixture(parts), *(rule for _, rule in parts))
    )
    expected = np.zeros_like(A)
    for (weight, _), received in zip(parts, each, strict=True):
        for place in np.ndindex(*A.shape):
            expected[place] += weight * received[place]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_summands_are_mixed_one_by_one():
    rule = rules.Mixture(((0.25, rules.Norm(0.0)), (0.75, rules.AbsRatio())))
    found = relevance_through(lambda _, x: jnp.add(*x), rule, None, (A, B), R)
    sizes = np.abs(A) + np.abs(B)
    for share, x in zip(found, (A, B), strict=True):
        expected = R * (0.25 * x / (A + B) + 0.75 * np.abs(x) / sizes)
        np.testing.assert_allclose(share, expected, rtol=1e-12)


def test_integers_beside_what_is_mixed_get_nothing():
    class Twice(rules.Rule):
        def __call__(self, layer, relevance):
            return 2 * relevance, None

    class Thrice(rules.Rule):
        def __call__(self, layer, relevance):
            return 3 * relevance, np.zeros(3)

    layer = types.SimpleNamespace(inputs=(A, np.arange(3)))
    received = rules.Mixture([(0.5, Twice()), (0.5, Thrice())])(layer, R)
    np.testing.assert_allclose(received[0], 2.5 * R, rtol=1e-12)
    assert received[1] is None


def test_what_is_absorbed_is_mixed_likewise():
    parts = [(0.6, rules.Epsilon(0.2)), (0.4, rules.ZPlus())]
    entries = []
    for rule in (rules.Mixture(parts), *(rule for _, rule in parts)):
        composite = rules.Composite([("stem", rule), *rules.epsilon_plus().lines])
        books = ji.ledger(network, composite, W, jnp.asarray(A), score=total)
        assert books.error < 1e-10
        entries += [entry for entry in books.entries if entry.site == "stem"]
    found, *each = entries
    for kept in ("bias", "stabilizer", "handed_on"):
        expected = sum(
            weight * getattr(entry, kept)
            for (weight, _), entry in zip(parts, each, strict=True)
        )
        assert getattr(found, kept) == pytest.approx(expected, rel=1e-9)
    assert abs(found.bias) > 1e-3


def test_a_mixture_of_rules_for_activations_rectifies_what_is_computed_twice_once():
    mixture = rules.Mixture([(0.5, rules.GuidedReLU()), (0.5, rules.Gradient())])
    assert mixture.of_activations
    assert not rules.Mixture([(1.0, rules.Pass())]).of_activations
    composite = [(ji.of_role("activation"), mixture), ("*", rules.Gradient())]
    composite = rules.Composite(composite)

    def once(w, x):
        h = jax.nn.relu(x)
        return h @ w["stem"] + jnp.sin(h @ w["stem"])

    def twice(w, x):
        return jax.nn.relu(x) @ w["stem"] + jnp.sin(jax.nn.relu(x) @ w["stem"])

    relevance = RNG.normal(size=(3, 5))
    found = [relevance_through(f, composite, W, A, relevance) for f in (once, twice)]
    np.testing.assert_allclose(*found, rtol=1e-12)


class Network(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(5, name="stem", param_dtype=float)(x))
        return nn.Dense(2, name="head", use_bias=False, param_dtype=float)(x)


@pytest.mark.parametrize(
    "rule",
    [
        rules.Mixture([(0.7, rules.Epsilon()), (0.3, rules.ZPlus())]),
        rules.AbsRatio(),
        rules.Sign(0.2),
    ],
    ids=lambda rule: type(rule).__name__,
)
def test_a_linen_layer_is_a_matrix_product(rule):
    stem = {"kernel": W["stem"], "bias": W["bias"]}
    variables = {"params": {"stem": stem, "head": {"kernel": W["head"]}}}
    composite = rules.Composite([(ji.first(), rule), *rules.epsilon_plus().lines])
    target = np.array([0, 1, 0])
    found, expected = (
        ji.attribution.lrp(f, composite=composite)(v, jnp.asarray(A), target)
        for f, v in ((Network().apply, variables), (network, W))
    )
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_the_dtype_is_kept(dtype):
    rule = rules.Mixture([(0.5, rules.Epsilon()), (0.5, rules.AbsRatio())])
    w, x, relevance = (jnp.asarray(v, dtype) for v in (W["stem"], A, R[:, :1]))
    received = relevance_through(lambda w, x: x @ w[:, :1], rule, w, x, relevance)
    assert received.dtype == dtype


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ((0.5, 0.4), r"must add up to 1, and \[0.5, 0.4\] add up to 0.9"),
        ((1.5, -0.5), "Mixture: `a weight` must lie between 0 and 1, and is 1.5"),
        ((float("nan"), 1.0), "must lie between 0 and 1"),
    ],
)
def test_weights_are_shares_that_add_up_to_one(weights, message):
    with pytest.raises(ValueError, match=message):
        rules.Mixture([(w, rules.Epsilon()) for w in weights])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "parts", [rules.Epsilon(), [rules.Epsilon()], [(rules.Epsilon(), 1.0)], {1: 2}]
)
def test_parts_are_pairs_of_a_weight_and_a_rule(parts):
    with pytest.raises(TypeError, match="pairs of a weight and a rule") as error:
        rules.Mixture(parts)
    (proposed,) = proposals(error, **vars(rules), parts=None)[1:]
    assert proposed == rules.Mixture(((0.7, rules.Epsilon()), (0.3, rules.ZPlus())))


def test_no_parts_are_an_error():
    with pytest.raises(ValueError, match="add up to 0"):
        rules.Mixture([])
