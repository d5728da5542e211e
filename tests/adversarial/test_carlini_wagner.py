"""Carlini and Wagner: linear classifiers, and its oracle."""

import functools

import jax
import numpy as np
import pytest

from jaxinterp.adversarial import carlini_wagner, l2, linf
from jaxinterp.objectives import margin
from tests.adversarial.linear import classifier, linear
from tests.compiled import compiled
from tests.networks import functions as models
from tests.oracles import attacks

WIDE = (-20.0, 20.0)


def test_it_comes_within_a_hundredth_of_the_smallest_change_of_a_linear_classifier():
    v, x, y = classifier(3)
    attack = carlini_wagner(
        linear, threat=l2(bounds=WIDE), steps=150, searches=8, first_constant=0.1
    )
    result = compiled(attack)(v, x, y)
    smallest = np.array(
        [
            attacks.distance_of_linear(v["w"], v["b"][0], row, c, "l2")
            for row, c in zip(x, y, strict=True)
        ]
    )
    assert np.asarray(result.is_adversarial).all()
    assert (np.asarray(result.size) > smallest).all()
    assert (np.asarray(result.size) < 1.03 * smallest).all()


def test_it_takes_the_steps_of_the_paper():
    v, x = models.mlp_weights(), models.vectors()
    y = np.asarray(models.smooth_mlp(v, x)).argmax(axis=1)
    options = {"steps": 15, "searches": 4}
    attack = carlini_wagner(
        models.smooth_mlp,
        threat=l2(bounds=WIDE),
        learning_rate=0.02,
        first_constant=0.5,
        **options,
    )
    result = compiled(attack)(v, x, y)
    slopes = jax.jit(
        jax.value_and_grad(
            lambda row, c: margin(models.smooth_mlp(v, row[None]), c[None])[0]
        )
    )
    is_fooled = []
    for i, row in enumerate(x):

        def margin_and_slope(here, i=i):
            value, slope = slopes(here, np.asarray(y[i]))
            return float(value), np.asarray(slope)

        expected, size = attacks.carlini_wagner(
            margin_and_slope, row, *WIDE, rate=0.02, constant=0.5, **options
        )
        is_fooled.append(expected is not None)
        np.testing.assert_allclose(result.size[i], size, rtol=1e-7)
        kept = row if expected is None else expected
        np.testing.assert_allclose(result.inputs[i], kept, atol=1e-7)
    assert any(is_fooled)


def test_an_entry_at_its_bounds_moves():
    """The inverse of the tangent is infinite there."""
    v = {"w": np.array([[3.0, 0.0]]), "b": np.array([[0.0, 1.5]])}
    x, y = np.array([[1.0]]), np.array([0])
    attack = carlini_wagner(
        linear, steps=200, searches=4, first_constant=1.0, learning_rate=0.1
    )
    result = compiled(attack)(v, x, y)
    assert bool(result.is_adversarial[0])
    assert 0.5 < float(result.size[0]) < 0.6


def test_confidence_asks_for_a_margin():
    v, x, y = classifier(3)
    attack = functools.partial(
        carlini_wagner,
        linear,
        threat=l2(bounds=WIDE),
        steps=60,
        searches=4,
        learning_rate=0.05,
        first_constant=1.0,
    )
    result = compiled(attack(confidence=2.0))(v, x, y)
    assert np.asarray(result.is_adversarial).all()
    reached = np.asarray(margin(linear(v, np.asarray(result.inputs)), y))
    assert (reached <= -2).all()
    assert (reached > -4).all()


def test_a_targeted_attack_reaches_its_class():
    v, x, y = classifier(3)
    wanted = (y + 1) % 3
    attack = carlini_wagner(
        linear,
        threat=l2(bounds=WIDE),
        steps=80,
        searches=3,
        learning_rate=0.05,
        first_constant=10.0,
        targeted=True,
    )
    result = compiled(attack)(v, x, wanted)
    assert np.asarray(result.is_adversarial).all()
    decided = linear(v, np.asarray(result.inputs)).argmax(axis=1)
    np.testing.assert_array_equal(decided, wanted)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threat": linf(0.1)}, "norm of the threat is 'linf'. Write `threat=l2"),
        ({"threat": l2(bounds=None)}, "keeps inputs within finite bounds"),
        ({"steps": 0}, "carlini_wagner: `steps` must be an integer of at least 1"),
        ({"searches": 0}, "carlini_wagner: `searches` must be an integer of at least"),
        ({"learning_rate": -1.0}, "carlini_wagner: `learning_rate` must be a finite"),
        ({"first_constant": -1.0}, "carlini_wagner: `first_constant` must be a finite"),
        ({"confidence": -1.0}, "carlini_wagner: `confidence` must be a finite number"),
    ],
)
def test_wrong_hyperparameters_are_errors(options, message):
    with pytest.raises(ValueError, match=message):
        carlini_wagner(linear, **options)
