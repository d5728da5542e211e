"""Explanations that are good, random, reversed, or blind to the network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.attribution import input_x_gradient
from jaxinterp.metrics import at_random, inverse
from jaxinterp.trust import audit, explanation

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(40, 12))
WEIGHTS = np.random.default_rng(1).normal(size=(12, 3))


def model(w, x):
    return x @ w


LABELS = (X @ WEIGHTS).argmax(axis=1)


def rows(attribution_fn, **options):
    check = explanation(attribution_fn, steps=6, **options)
    report = audit(model, WEIGHTS, X, LABELS, key=KEY, checks=[check])
    return report.rows["explanation"]


def init(key):
    return jax.random.normal(key, WEIGHTS.shape)


def of_inputs(v, x, target=None, key=None):
    """Shows the input, whatever the network does."""
    return jnp.abs(x)


def test_only_what_beats_chance_and_depends_on_the_network_passes():
    good = rows(input_x_gradient(model), init=init)
    assert [row.verdict for row in good] == ["pass", "pass"]
    assert good[0].high < 0
    assert abs(good[1].value) < 0.5
    blind = rows(of_inputs, init=init)
    assert blind[1].verdict == "fail"
    assert blind[1].value == pytest.approx(1)


def test_chance_and_the_reverse_order_fail():
    for method in (at_random, inverse(input_x_gradient(model))):
        deleted, random = rows(method)
        assert deleted.verdict == "fail"
        assert random.verdict == "not applicable"
        assert random.note == "no `init` was given"
    with pytest.raises(ValueError, match="`steps` must be"):
        explanation(at_random, steps=0)


def test_labels_are_of_the_logits():
    model = lambda w, x: x @ w  # noqa: E731
    report = audit(
        *(model, np.eye(3), np.ones((8, 3)), np.full(8, 7)),
        key=jax.random.key(0),
        checks=[explanation(input_x_gradient(model))],
    )
    (row,) = report.rows["explanation"]
    assert row.verdict == "error"
    assert "labels run from 0 to 2" in row.note
