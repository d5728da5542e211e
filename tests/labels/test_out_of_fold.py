"""Held-out predictions: no model learned from what it predicts."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.labels.out_of_fold import out_of_fold

RNG = np.random.default_rng(0)
CENTERS = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])
TRUTH = RNG.integers(3, size=120)
X = CENTERS[TRUTH] + RNG.normal(size=(120, 2))
KEY = jax.random.key(0)


def logits(w: Any, x: Any) -> Any:
    return x @ w["w"] + w["b"][None]


@chex.assert_max_traces(n=1)
def train(key: Any, inputs: Any, labels: Any, weights: Any) -> Any:
    """Softmax regression by gradient descent."""

    def loss(w: Any) -> Any:
        own = jnp.take_along_axis(
            jax.nn.log_softmax(logits(w, inputs)), labels[:, None], axis=1
        )[:, 0]
        return -(weights * own).sum() / weights.sum()

    def step(w: Any, _: Any) -> Any:
        return jax.tree.map(lambda a, g: a - 0.3 * g, w, jax.grad(loss)(w)), None

    start = {"w": 0.01 * jax.random.normal(key, (2, 3)), "b": jnp.zeros(3)}
    return jax.lax.scan(step, start, length=100)[0]


def test_all_folds_are_what_each_is_alone_and_find_injected_errors() -> None:
    noisy = ji.data.mislabeled(jax.random.key(3), TRUTH, rate=0.1)
    labels = np.asarray(noisy.labels)
    found = out_of_fold(logits, train, X, labels, key=KEY, folds=4)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)
    sizes = [
        [np.sum((found.folds == f) & (labels == c)) for f in range(4)] for c in range(3)
    ]
    assert max(max(row) - min(row) for row in sizes) <= 1
    chex.clear_trace_counter()
    rest = found.folds != 2
    alone = train(
        jax.random.fold_in(KEY, 1), X[rest], labels[rest], np.ones(rest.sum())
    )
    expected = jax.nn.softmax(logits(alone, X[~rest]), axis=1)
    np.testing.assert_allclose(found.probabilities[~rest], expected, rtol=1e-9)
    chex.clear_trace_counter()
    again = out_of_fold(logits, train, X, labels, key=KEY, folds=4)
    chex.assert_trees_all_equal(again, found)
    issues = ji.labels.find_label_issues(labels, found.probabilities)
    wrong = np.asarray(noisy.is_corrupted)
    assert wrong.sum() >= 8
    assert wrong[issues.is_issue].mean() > 0.8
    assert issues.is_issue[wrong].mean() > 0.8


def mean_of_classes(key: Any, inputs: Any, labels: Any, weights: Any) -> Any:
    is_class = (labels[:, None] == jnp.arange(3)[None]) * weights[:, None]
    return is_class.T @ inputs / is_class.sum(0)[:, None]


def nearest(means: Any, x: Any) -> Any:
    return -((x[:, None] - means[None]) ** 2).sum(-1)


def call(**options: Any) -> Any:
    arguments = {"inputs": X, "labels": TRUTH, "key": KEY, **options}
    apply_fn = arguments.pop("apply_fn", nearest)
    return out_of_fold(apply_fn, mean_of_classes, **arguments)


def test_groups_stay_together_and_the_key_decides_the_folds() -> None:
    groups = RNG.integers(20, size=120)
    found = call(groups=groups, folds=3)
    assert all(len(np.unique(found.folds[groups == g])) == 1 for g in np.unique(groups))
    sizes = np.bincount(found.folds)
    assert sizes.max() - sizes.min() <= np.bincount(groups).max()
    other = call(groups=groups, folds=3, key=jax.random.key(1))
    assert (other.folds != found.folds).any()


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(TypeError, match="needs one key"):
        call(key=3)
    with pytest.raises(ValueError, match="out_of_fold: `folds` must"):
        call(folds=1)
    with pytest.raises(TypeError, match="`labels` are integers, and are float64"):
        call(labels=TRUTH * 1.0)
    with pytest.raises(ValueError, match=r"one row of inputs for each of the 120"):
        call(inputs=X[:3])
    with pytest.raises(ValueError, match=r"`labels` have the shape \(examples,\)"):
        call(labels=TRUTH[:, None])
    with pytest.raises(ValueError, match="2 groups make no 5 folds"):
        call(groups=TRUTH % 2)
    with pytest.raises(ValueError, match="for each of the 120 examples, and `groups`"):
        call(groups=TRUTH[:3])
    with pytest.raises(ValueError, match="3 examples make no 5 folds"):
        call(inputs=X[:3], labels=TRUTH[:3])
    rare = np.where(np.arange(120) == 7, 2, TRUTH % 2)
    with pytest.raises(ValueError, match="all 1 examples of class 2 lie in one fold"):
        call(labels=rare)
    with pytest.raises(FloatingPointError, match=r"not a number\. Train with a"):
        call(labels=TRUTH % 2)  # a class without examples has no mean
    with pytest.raises(ValueError, match=r"the model returns \(120,\), and logits"):
        call(apply_fn=lambda w, x: x[:, 0])
    with pytest.raises(TypeError, match="outside of that"):
        jax.jit(lambda x: call(inputs=x).probabilities)(X)


def test_models_are_checked(unchecked: None) -> None:
    with pytest.raises(ValueError, match=r"logits of the shape \(120, classes\)"):
        out_of_fold(lambda w, x: (x, x), lambda *_: 0.0, X, TRUTH, key=KEY)
    with pytest.raises(TypeError, match="`train` must be a function"):
        out_of_fold(logits, None, X, TRUTH, key=KEY)  # pyright: ignore[reportArgumentType]  what is tested
