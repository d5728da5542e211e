"""DeepFool: one step for linear classifiers, and its oracle."""

import jax
import numpy as np
import pytest

from jaxinterp.adversarial import deep_fool, l2, linf
from tests.adversarial.linear import BALLS, classifier, linear
from tests.compiled import compiled
from tests.networks import functions as models
from tests.oracles import attacks

every_norm = pytest.mark.parametrize("norm", BALLS)
jacobian = jax.jit(jax.jacobian(lambda v, row: models.smooth_mlp(v, row[None])[0], 1))


@every_norm
@pytest.mark.parametrize("classes", [2, 5])
def test_one_step_is_the_smallest_change_of_a_linear_classifier(norm, classes):
    v, x, y = classifier(classes)
    threat = BALLS[norm](bounds=None)
    attack = compiled(deep_fool(linear, threat=threat, steps=1))
    result = attack(v, x, y)
    smallest = [
        attacks.distance_of_linear(v["w"], v["b"][0], row, c, norm)
        for row, c in zip(x, y, strict=True)
    ]
    assert np.asarray(result.is_adversarial).all()
    np.testing.assert_allclose(result.size, 1.02 * np.array(smallest), rtol=1e-9)


@every_norm
def test_it_takes_the_steps_of_the_paper(norm):
    v, x = models.mlp_weights(), models.vectors()
    y = np.asarray(models.smooth_mlp(v, x)).argmax(axis=1)
    threat = BALLS[norm](bounds=None)
    result = compiled(deep_fool(models.smooth_mlp, threat=threat, steps=20))(v, x, y)
    n_steps = set()
    for i, row in enumerate(x):
        visited = []

        def logits(here, visited=visited):
            visited.append(here)
            return np.asarray(models.smooth_mlp(v, here[None]))[0]

        expected = attacks.deep_fool(
            logits,
            lambda here: np.asarray(jacobian(v, here)),
            row,
            y[i],
            norm,
            0.02,
            20,
        )
        n_steps.add(len(visited))
        np.testing.assert_allclose(result.inputs[i], expected, atol=1e-9)
    assert max(n_steps) > 2  # more than one step was needed


@every_norm
def test_entries_at_their_bounds_let_the_others_go_farther(norm):
    """The steepest entries cannot move, or only half of the way."""
    v = {"w": np.array([[9.0, 0], [5.0, 0], [1.0, 0], [0.5, 0]]), "b": np.zeros((1, 2))}
    x, y = np.array([[0.0, 0.1, 0.9, 0.9]]), np.array([0])
    v["b"][0, 1] = (x @ v["w"])[0, 0] - 1.0  # the margin is 1
    result = compiled(deep_fool(linear, threat=BALLS[norm](), steps=8))(v, x, y)
    assert bool(result.is_adversarial[0])
    change = np.asarray(result.inputs)[0] - x[0]
    np.testing.assert_array_equal(change[0], 0)
    np.testing.assert_allclose(change[1], -0.1, atol=1e-12)
    assert np.asarray(result.inputs).min() >= 0
    # What is left of the margin, 1/2, is divided among the other two.
    assert 0.5 <= -(change[2:] @ [1, 0.5]) < 0.56


def test_a_radius_says_what_counts_as_a_success():
    v, x, y = classifier(3)
    free = deep_fool(linear, threat=l2(bounds=None))(v, x, y)
    radius = float(np.median(free.size))
    result = deep_fool(linear, threat=l2(radius, bounds=None))(v, x, y)
    is_near = np.asarray(free.size) <= radius
    np.testing.assert_array_equal(result.is_adversarial, is_near)
    np.testing.assert_array_equal(np.isinf(result.size), ~is_near)
    np.testing.assert_array_equal(np.asarray(result.inputs)[~is_near], x[~is_near])
    np.testing.assert_array_equal(
        np.asarray(result.inputs)[is_near], np.asarray(free.inputs)[is_near]
    )


def test_called_eagerly_it_stops_when_all_are_fooled():
    v, x, y = classifier(3)
    calls = []

    def counted(v, x):
        jax.debug.callback(lambda: calls.append(1))
        return linear(v, x)

    result = deep_fool(counted, threat=l2(bounds=None))(v, x, y)
    jax.effects_barrier()
    assert len(calls) < 15
    assert result.losses.shape == (len(x), 52)
    np.testing.assert_array_equal(result.losses[:, -1], result.losses[:, 5])


def test_few_classes_may_be_looked_at():
    """The nearest boundary may be that of a class with a small logit."""
    v = {"w": np.array([[0.0, 0.1, -9.0]]), "b": np.array([[1.0, 0.5, 0.0]])}
    x, y = np.array([[0.0]]), np.array([0])
    threat = linf(bounds=None)
    sizes = [
        float(deep_fool(linear, threat=threat, n_classes=n)(v, x, y).size[0])
        for n in (2, 3)
    ]
    np.testing.assert_allclose(sizes, [1.02 * 5, 1.02 / 9], rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "deep_fool: `steps` must be an integer of at least 1"),
        ({"n_classes": 1}, "deep_fool: `n_classes` must be an integer of at least 2"),
        ({"overshoot": -0.1}, "deep_fool: `overshoot` must be a finite number"),
    ],
)
def test_wrong_hyperparameters_are_errors(options, message):
    with pytest.raises(ValueError, match=message):
        deep_fool(linear, **options)
