"""Scores of labels against cleanlab's published definitions."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.labels.label_quality import label_quality, suspicious_labels
from tests.oracles import label_noise as oracle

RNG = np.random.default_rng(0)
LOGITS, LABELS = 2 * RNG.normal(size=(23, 4)), RNG.integers(4, size=23)
P = np.asarray(jax.nn.softmax(LOGITS, axis=1))
SCORES: Any = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")


@pytest.mark.parametrize("score", SCORES)
def test_it_is_the_definition(score: Any) -> None:
    expected = oracle.quality(LABELS, P, score)
    np.testing.assert_allclose(label_quality(LABELS, P, score), expected, rtol=1e-12)
    jitted = jax.jit(lambda y, p: label_quality(y, p, score))(LABELS, P)
    np.testing.assert_allclose(jitted, expected, rtol=1e-12)
    rows = jax.vmap(lambda y, p: label_quality(y[None], p[None], score)[0])(LABELS, P)
    np.testing.assert_allclose(rows, expected, rtol=1e-12)
    half = label_quality(LABELS, jnp.asarray(P, jnp.bfloat16), score)
    assert half.dtype == jnp.float32
    np.testing.assert_allclose(half, expected, atol=0.01)
    assert label_quality(LABELS[:0], P[:0], score).shape == (0,)


def test_a_row_worked_by_hand() -> None:
    """(.7, .2, .1) and the label 1: entropy .802 / log 3 = .730, u = 3.649."""
    values = [label_quality(np.array([1]), [[0.7, 0.2, 0.1]], s)[0] for s in SCORES]
    np.testing.assert_allclose(values, [0.2, 0.25, 0.4211], atol=5e-5)
    sure = np.array([[1.0, 0.0], [1.0, 0.0], [0.5, 0.5]])
    labels = np.array([0, 1, 0])
    found = label_quality(labels, sure, "confidence_weighted_entropy")
    np.testing.assert_allclose(found[::2], [1, np.log(3) / 2])
    assert 0 <= found[1] <= 1


def test_the_least_believed_labels_of_a_stream(unchecked: None) -> None:
    def model(w: Any, x: Any) -> Any:
        return w * x

    def ranking(batches: Any, **options: Any) -> Any:
        return suspicious_labels(model, 1.0, batches, **{"k": 5, **options})

    cut = [(LOGITS[i : i + 5], LABELS[i : i + 5]) for i in range(0, 23, 5)]
    for score in SCORES:
        order = np.argsort(oracle.quality(LABELS, P, score))
        found = ranking(cut, score=score)
        np.testing.assert_array_equal(found.lowest.indices[0], order[:5])
    part = ranking(cut[:2])
    chex.assert_trees_all_equal(ranking(cut[2:], resume=part), ranking(cut))
    with pytest.raises(FloatingPointError, match="not a number for example 3"):
        ranking([(LOGITS[:5], np.array([0, 1, 2, 4, 0]))])
    with pytest.raises(TypeError, match="as pairs"):
        ranking([LOGITS])
    with pytest.raises(ValueError, match=r"returns \(5, 4, 1\), and logits"):
        ranking([(LOGITS[:5, :, None], LABELS[:5])])
    with pytest.raises(ValueError, match="suspicious_labels: `score` is 'loss'"):
        ranking(cut, score="loss")
    with pytest.raises(ValueError, match="holds no example"):
        ranking([])
    with pytest.raises(ValueError, match="`resume` is for suspicious_labels by self"):
        ranking(cut, score="normalized_margin", resume=part)


def test_what_is_wrong_is_said(unchecked: None) -> None:
    with pytest.raises(ValueError, match="label_quality: `score` is 'loss'"):
        label_quality(LABELS, P, "loss")
    with pytest.raises(TypeError, match=r"of one-hot rows `labels\.argmax"):
        label_quality(LABELS * 1.0, P)
    with pytest.raises(ValueError, match=r"these have \(22,\) and \(23, 4\)"):
        label_quality(LABELS[1:], P)
    with pytest.raises(ValueError, match="run from 0 to 3, and these from 0 to 5"):
        label_quality(np.array([0, 5]), P[:2])
    with pytest.raises(ValueError, match=r"write `jax\.nn\.softmax\(logits, axis=1\)`"):
        label_quality(LABELS, LOGITS)


def test_labels_may_be_a_list_of_integers_and_nothing_else(unchecked: None) -> None:
    listed: Any = LABELS.tolist()
    np.testing.assert_array_equal(label_quality(listed, P), label_quality(LABELS, P))
    with pytest.raises(TypeError, match="labels are integers, and are <U1"):
        label_quality(np.array(["a"] * 23), P)


def test_a_model_that_returns_several_arrays_is_told_so() -> None:
    with pytest.raises(ValueError, match="and logits of the shape"):
        suspicious_labels(lambda w, x: (x, x), None, [(LOGITS, LABELS)])
