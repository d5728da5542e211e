"""TracIn against its definition and a step of training."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.influence.losses import cross_entropy
from jaxinterp.influence.trac_in import trac_in
from tests.oracles import influence as oracle

RNG = np.random.default_rng(0)
X, LABELS = RNG.normal(size=(11, 4)), RNG.integers(3, size=11)
CHECKPOINTS = [RNG.normal(size=(4, 3)) for _ in range(3)]
RATES = [0.1, 0.2, 0.5]
BATCHES = [(X[:4], LABELS[:4]), (X[4:], LABELS[4:])]
QUERIES = X[:2] + 1, LABELS[:2]


def model(w: Any, x: Any) -> Any:
    return x @ w


def scores(batches: Any = BATCHES, queries: Any = QUERIES, **options: Any) -> Any:
    options = {"rates": RATES, "k": 11, **options}
    return trac_in(model, cross_entropy, CHECKPOINTS, batches, queries, **options)


def test_it_is_the_definition() -> None:
    expected = np.zeros((2, 11))
    for w, rate in zip(CHECKPOINTS, RATES, strict=True):
        for q, i in np.ndindex(2, 11):
            of_query = oracle.gradient(w, QUERIES[0][q], QUERIES[1][q])
            expected[q, i] += rate * of_query @ oracle.gradient(w, X[i], LABELS[i])
    np.testing.assert_allclose(scores().by_example(), expected, rtol=1e-11)
    own = scores(queries=None).by_example()
    pairs = scores(queries=(X, LABELS)).by_example()
    np.testing.assert_allclose(own[0], np.diag(pairs), rtol=1e-11)


def test_a_small_step_on_an_example_lowers_the_loss_by_it() -> None:
    w, rate = CHECKPOINTS[0], 1e-6
    for i in range(3):
        after = w - rate * oracle.gradient(w, X[i], LABELS[i]).reshape(w.shape)
        drop = [
            oracle.cross_entropy(w, x, y) - oracle.cross_entropy(after, x, y)
            for x, y in zip(*QUERIES, strict=True)
        ]
        found = trac_in(model, cross_entropy, [w], BATCHES, QUERIES, rates=rate, k=11)
        np.testing.assert_allclose(found.by_example()[:, i], drop, rtol=1e-4)


def test_stopping_and_resuming_change_nothing() -> None:
    part = scores(BATCHES[:1], k=2)
    chex.assert_trees_all_equal(scores(BATCHES[1:], k=2, resume=part), scores(k=2))
    doubled = scores(measure=lambda z, y: 2 * cross_entropy(z, y)).by_example()
    np.testing.assert_allclose(doubled, 2 * scores().by_example(), rtol=1e-12)
    margins = scores(queries=None, measure=ji.objectives.margin).by_example()
    pairs = scores(queries=(X, LABELS), measure=ji.objectives.margin).by_example()
    np.testing.assert_allclose(margins[0], np.diag(pairs), rtol=1e-11)


@chex.assert_max_traces(n=2)  # of queries and of training examples
def counted(w: Any, x: Any) -> Any:
    return x @ w


def test_all_checkpoints_share_a_program() -> None:
    found = trac_in(
        counted, cross_entropy, CHECKPOINTS, BATCHES, QUERIES, rates=RATES, k=11
    )
    np.testing.assert_allclose(found.by_example(), scores().by_example(), rtol=1e-12)


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(ValueError, match="there are 2 rates and 3 checkpoints"):
        scores(rates=[0.1, 0.2])
    with pytest.raises(ValueError, match="trac_in: `rates` must"):
        scores(rates=-1.0)
    with pytest.raises(ValueError, match="holds no weights"):
        trac_in(model, cross_entropy, [], BATCHES, rates=0.1)
    with pytest.raises(TypeError, match="as pairs"):
        scores([X])
    with pytest.raises(TypeError, match="as pairs"):
        scores(queries=X)
    with pytest.raises(FloatingPointError, match="not a number for example 0"):
        scores([(jnp.asarray(X) * jnp.nan, LABELS)])
    with pytest.raises(ValueError, match="`resume` is for trac_in with rates"):
        scores(rates=0.1, resume=scores())
    with pytest.raises(TypeError, match="outside of that"):
        jax.jit(lambda x: scores(queries=(x, LABELS)))(X)


def test_rates_may_be_an_array() -> None:
    for rates in (np.array(RATES), jnp.array(RATES)):
        np.testing.assert_allclose(
            scores(rates=rates).by_example(), scores().by_example(), rtol=1e-6
        )
    one = scores(rates=jnp.array(0.5)).by_example()
    np.testing.assert_allclose(one, scores(rates=0.5).by_example(), rtol=1e-6)


def test_checkpoints_are_a_list() -> None:
    with pytest.raises(TypeError, match=r"Of one time write `\[variables\]`"):
        trac_in(model, cross_entropy, CHECKPOINTS[0], BATCHES, rates=0.1)
    other = [CHECKPOINTS[0], np.ones((4, 7))]
    with pytest.raises(ValueError, match="checkpoint 1 has other leaves or shapes"):
        trac_in(model, cross_entropy, other, BATCHES, rates=0.1)
