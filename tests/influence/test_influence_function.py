"""Influence against exact retraining, closed forms and the definition."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.influence.curvature import hessian
from jaxinterp.influence.influence_function import influence
from jaxinterp.influence.losses import cross_entropy, squared_error
from tests.oracles import influence as oracle

RNG = np.random.default_rng(0)
CLASSES, DECAY = 3, 0.05
CENTERS = RNG.normal(size=(CLASSES, 4))
LABELS = RNG.integers(CLASSES, size=40)
X = np.concatenate([CENTERS[LABELS] + RNG.normal(size=(40, 4)), np.ones((40, 1))], 1)
QUERY_LABELS = RNG.integers(CLASSES, size=7)
QUERIES = np.concatenate(
    [CENTERS[QUERY_LABELS] + RNG.normal(size=(7, 4)), np.ones((7, 1))], 1
)
W = oracle.trained(X, LABELS, CLASSES, DECAY)


def model(w: Any, x: Any) -> Any:
    return x @ w


def cut(size: int, n: int = 40, start: int = 0) -> list[Any]:
    stops = range(start, n, size)
    return [(X[i : min(i + size, n)], LABELS[i : min(i + size, n)]) for i in stops]


CURVATURE = hessian(model, cross_entropy, W, cut(40))
WHOLE = cut(40)
OPTIONS: Any = {"curvature": CURVATURE, "damping": DECAY}


def scores(batches: Any, **options: Any) -> np.ndarray:
    options = {"k": 40, **OPTIONS, **options}
    queries = QUERIES, QUERY_LABELS
    return influence(model, cross_entropy, W, batches, queries, **options).by_example()


def test_it_is_the_definition() -> None:
    expected = oracle.influence(W, X, LABELS, QUERIES, QUERY_LABELS, DECAY)
    np.testing.assert_allclose(scores(cut(40)), expected, rtol=1e-9, atol=1e-14)


def test_it_is_what_leaving_examples_out_does() -> None:
    """To first order: single removals correlate, and small weights agree in value."""
    estimate = scores(cut(16))
    truth = oracle.left_out(X, LABELS, QUERIES, QUERY_LABELS, CLASSES, DECAY)
    assert np.corrcoef(estimate.ravel(), truth.ravel())[0, 1] > 0.99
    for of_estimate, of_truth in zip(estimate, truth, strict=True):
        assert np.corrcoef(of_estimate, of_truth)[0, 1] > 0.97
    # A share of an example: the change is that share of the influence.
    share, examples = 1e-4, (0, 17, 39)
    for i in examples:
        weights = np.ones(40)
        weights[i] -= share
        without = oracle.trained(X, LABELS, CLASSES, DECAY, weights)
        change = [
            oracle.cross_entropy(without, x, label) - oracle.cross_entropy(W, x, label)
            for x, label in zip(QUERIES, QUERY_LABELS, strict=True)
        ]
        np.testing.assert_allclose(
            np.array(change) / share, estimate[:, i], rtol=2e-4, atol=1e-7
        )


def test_ridge_regression_has_a_closed_form() -> None:
    """Leaving out: the prediction changes by leverage times residual / (1 - leverage).

    The first order has no denominator; with it the estimate is exact.
    """
    y = RNG.normal(size=(40, 1))
    gram = X.T @ X / 40 + DECAY * np.eye(5)
    w = np.linalg.solve(gram, X.T @ y / 40)
    curvature = hessian(model, squared_error, w, [(X, y)])
    np.testing.assert_allclose(curvature.matrix, X.T @ X / 40, rtol=1e-12)
    found = influence(
        *(model, squared_error, w, [(X, y)], (X, y)),
        curvature=curvature,
        damping=DECAY,
        measure=lambda outputs, target: outputs[:, 0],
        k=40,
    ).by_example()
    leverage = np.einsum("qd,de,ie->qi", X, np.linalg.inv(gram), X) / 40
    residual = (y - X @ w)[:, 0]
    for i in range(40):
        rest = np.arange(40) != i
        gram_i = X[rest].T @ X[rest] / 40 + DECAY * np.eye(5)
        w_i = np.linalg.solve(gram_i, X[rest].T @ y[rest] / 40)
        change = (X @ (w_i - w))[:, 0]
        exact = found[:, i] / (1 - leverage[i, i])
        np.testing.assert_allclose(exact, change, rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(found[:, i], -leverage[:, i] * residual[i])


def test_cutting_stopping_and_resuming_change_nothing() -> None:
    whole = scores(cut(40))
    np.testing.assert_allclose(scores(cut(7)), whole, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(scores(iter(cut(7))), whole, rtol=1e-12, atol=1e-15)
    arguments = model, cross_entropy, W
    queries = QUERIES, QUERY_LABELS
    few: Any = {"k": 3, **OPTIONS}
    part = influence(*arguments, cut(7, 21), queries, **few)
    resumed = influence(*arguments, cut(7, 40, 21), queries, resume=part, **few)
    at_once = influence(*arguments, cut(7), queries, **few)
    chex.assert_trees_all_equal(resumed, at_once)
    order = np.argsort(-whole, axis=1, kind="stable")
    np.testing.assert_array_equal(at_once.highest.indices, order[:, :3])
    np.testing.assert_array_equal(at_once.lowest.indices, order[:, :-4:-1])
    assert np.isnan(at_once.by_example()).sum() == 7 * 34


def test_an_example_on_itself_is_the_diagonal() -> None:
    own = influence(model, cross_entropy, W, cut(16), k=40, **OPTIONS).by_example()
    pairs = influence(
        *(model, cross_entropy, W, cut(16), (X, LABELS)), k=40, **OPTIONS
    ).by_example()
    np.testing.assert_allclose(own[0], np.diag(pairs), rtol=1e-10)
    assert (own > 0).all()


def test_mislabeled_examples_influence_themselves_most() -> None:
    noisy = ji.data.mislabeled(jax.random.key(1), LABELS, rate=0.1)
    labels = np.asarray(noisy.labels)
    w = oracle.trained(X, labels, CLASSES, DECAY)
    curvature = hessian(model, cross_entropy, w, [(X, labels)])
    ranking = influence(
        *(model, cross_entropy, w, [(X, labels)]),
        curvature=curvature,
        damping=DECAY,
        k=40,
    )
    own, wrong = ranking.by_example()[0], np.asarray(noisy.is_corrupted)
    assert 2 <= wrong.sum() <= 8
    area = np.mean(own[wrong][:, None] > own[~wrong][None])
    assert area > 0.9


def test_a_permutation_and_a_copy_of_an_example() -> None:
    order = RNG.permutation(40)
    permuted = scores([(X[order], LABELS[order])])
    np.testing.assert_allclose(permuted, scores(cut(40))[:, order], rtol=1e-10)
    twice = scores([(X[[0, 0]], LABELS[[0, 0]])], k=2)
    np.testing.assert_array_equal(twice[:, 0], twice[:, 1])


def test_a_measure_is_a_score_or_an_objective() -> None:
    by_score = scores(cut(40), measure=ji.objectives.logit)
    fixed = scores(cut(40), measure=":1")
    same = np.asarray(QUERY_LABELS == 1)
    np.testing.assert_allclose(fixed[same], by_score[same], rtol=1e-12)
    doubled = scores(cut(40), measure=lambda z, y: 2 * cross_entropy(z, y))
    np.testing.assert_allclose(doubled, 2 * scores(cut(40)), rtol=1e-12)


def test_half_precision_is_computed_in_single() -> None:
    half = W.astype(jnp.bfloat16), X.astype(jnp.bfloat16)
    found = influence(
        *(model, cross_entropy, half[0], [(half[1], LABELS)]),
        (QUERIES.astype(jnp.bfloat16), QUERY_LABELS),
        k=40,
        **OPTIONS,
    )
    assert found.highest.scores.dtype == jnp.float32
    exact = scores(cut(40))
    assert np.corrcoef(found.by_example().ravel(), exact.ravel())[0, 1] > 0.999


@chex.assert_max_traces(n=2)  # of queries and of training examples
def counted(w: Any, x: Any) -> Any:
    return x @ w


def test_a_stream_is_traced_once() -> None:
    queries = QUERIES, QUERY_LABELS
    found = influence(counted, cross_entropy, W, cut(8), queries, k=40, **OPTIONS)
    np.testing.assert_allclose(found.by_example(), scores(cut(8)), rtol=1e-12)


def test_what_is_wrong_is_said() -> None:
    call: Any = lambda batches=WHOLE, queries=None, **options: influence(  # noqa: E731
        *(model, cross_entropy, W, batches, queries), **{**OPTIONS, **options}
    )
    with pytest.raises(TypeError, match=r"as pairs, `\(inputs, labels\)`, and was"):
        call([X])
    with pytest.raises(TypeError, match=r"Each batch is a pytree of arrays"):
        call([(X, LABELS.tolist())])
    with pytest.raises(TypeError, match="`curvature` is what hessian"):
        call(curvature=1.0)
    with pytest.raises(ValueError, match="influence: `damping` must"):
        call(damping=-1.0)
    with pytest.raises(ValueError, match="influence: `k` must"):
        call(k=0)
    with pytest.raises(ValueError, match="`batches` holds no example"):
        call([])
    with pytest.raises(ValueError, match=r"one number per example, \(1,\)"):
        influence(model, lambda z, y: z.sum(), W, cut(40), **OPTIONS)
    ranking = call(k=2)
    with pytest.raises(ValueError, match=r"`resume` is for influence .* k=2"):
        call(k=3, resume=ranking)
    with pytest.raises(TypeError, match="`resume` is what an earlier call"):
        call(resume=3)
    wrong = X.copy()
    wrong[11, 0] = np.nan
    with pytest.raises(FloatingPointError, match="not a number for example 11"):
        call([(wrong[:8], LABELS[:8]), (wrong[8:], LABELS[8:])])
    with pytest.raises(TypeError, match="outside of that"):
        jax.jit(lambda w: influence(model, cross_entropy, w, cut(40), **OPTIONS))(W)


MODEL: Any = (model, cross_entropy, W, WHOLE)


def test_queries_are_checked() -> None:
    for wrong, message in (
        ((QUERIES[:0], QUERY_LABELS[:0]), "at least one"),
        ((QUERIES, QUERY_LABELS[:3]), "these have 7 and 3 rows"),
    ):
        with pytest.raises(ValueError, match=message):
            influence(*MODEL, wrong, **OPTIONS)
    with pytest.raises(TypeError, match="are a pair of arrays"):
        influence(*MODEL, (QUERIES, QUERY_LABELS.tolist()), **OPTIONS)
    other = np.where(np.arange(7) == 2, CLASSES, QUERY_LABELS)
    with pytest.raises(FloatingPointError, match="the gradient of query 2 is not fin"):
        influence(*MODEL, (QUERIES, other), **OPTIONS)


def test_a_curvature_is_of_the_same_weights() -> None:
    """JAX would clamp the indices of parameters that are not there."""
    wider = np.ones((X.shape[1], CLASSES + 1))
    factors = ji.influence.ekfac(model, cross_entropy, W, WHOLE)
    for curvature in (CURVATURE, factors):
        with pytest.raises(ValueError, match="Take the curvature of the same model"):
            influence(
                *(model, cross_entropy, wider, WHOLE, (QUERIES, QUERY_LABELS)),
                curvature=curvature,
                damping=DECAY,
            )
    named = {"w": W}
    with pytest.raises(ValueError, match=r"no leaf '', .* There are: w"):
        influence(lambda v, x: x @ v["w"], cross_entropy, named, WHOLE, **OPTIONS)
