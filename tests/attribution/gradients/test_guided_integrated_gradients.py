"""Guided integrated gradients against the algorithm of the paper, and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.attribution import guided_integrated_gradients, integrated_gradients
from jaxinterp.objectives import total
from tests.compiled import compiled
from tests.networks import functions as models
from tests.oracles import paths as oracle

LAYERS, X, TARGET = models.mlp_weights(), models.vectors(), models.targets()
START = models.normal(20, 5)
W = models.normal(30, 12)


def wavy(w, x):
    return jnp.sin(x * w[None]).sum(1, keepdims=True) ** 2


def slope(x):
    return 2 * np.sin(x * W).sum() * np.cos(x * W) * W


@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.6, 1.0])
@pytest.mark.parametrize("max_distance", [0.0, 0.1, 1.0])
def test_it_follows_the_path_of_the_paper(fraction, max_distance):
    x, start = models.normal(31, 2, 12), models.normal(32, 12)
    x[1, 3:6] = start[3:6]  # these do not move
    options = {"steps": 9, "fraction": fraction, "max_distance": max_distance}
    attribute = compiled(guided_integrated_gradients(wavy, baseline=start, **options))
    received = attribute(W, x, 0)
    for i in range(2):
        points = oracle.guided_path(slope, x[i], start, *options.values())
        expected = oracle.along(slope, points)
        np.testing.assert_allclose(points[-1], x[i], rtol=1e-12)
        np.testing.assert_allclose(received[i], expected, rtol=1e-8, atol=1e-10)
    np.testing.assert_array_equal(received[1, 3:6], 0)


def test_equal_gradients_move_together():
    x, w = np.array([[1.0, 2.0, 3.0, 4.0, 5.0]]), np.array([0.0, 0.0, 0.0, 1.0, 2.0])

    def model(w, x):
        return (x @ w[:, None] + x.mean(1, keepdims=True)) ** 2

    def gradient(x):
        return 2 * (x @ w + x.mean()) * (w + 0.2)

    options = {"steps": 6, "fraction": 0.3, "max_distance": 0.3}
    received = guided_integrated_gradients(model, **options)(w, x, 0)[0]
    points = oracle.guided_path(gradient, x[0], 0 * x[0], *options.values())
    np.testing.assert_allclose(received, oracle.along(gradient, points), rtol=1e-10)
    np.testing.assert_allclose(received[1:3] / received[0], [2, 3], rtol=1e-10)


def test_a_peers_numbers():
    """Of a linear function, and of one where the path alone decides."""
    x = np.array([[11.0, 8.0]])
    received = guided_integrated_gradients(lambda w, x: x @ w)(
        np.array([[2.0], [1.0]]), x, 0
    )
    np.testing.assert_allclose(received, [[22, 8]], rtol=1e-12)

    def square(w, x):
        return (2 * x[:, :1] + x[:, 1:]) ** 2

    x = np.array([[3.0, 3.0]])
    straight = guided_integrated_gradients(square, max_distance=0)(None, x, 0)
    np.testing.assert_allclose(straight, [[54, 27]], rtol=1e-12)
    # At zero both slopes are equal, so that the first step goes straight on.
    for steps in (20, 200):
        free = guided_integrated_gradients(square, steps=steps, max_distance=1)
        expected = [[72 - 36 / steps, 9 + 36 / steps]]
        np.testing.assert_allclose(free(None, x, 0), expected, rtol=1e-10)


def test_on_a_narrow_path_it_tends_to_integrated_gradients():
    straight = integrated_gradients(models.smooth_mlp, baseline=START)
    expected = straight(LAYERS, X, TARGET)
    guided = guided_integrated_gradients(
        models.smooth_mlp, baseline=START, max_distance=0, steps=100
    )
    np.testing.assert_allclose(compiled(guided)(LAYERS, X, TARGET), expected, atol=1e-3)


def test_it_adds_up_as_steps_grow():
    logits = [models.smooth_mlp(LAYERS, x) for x in (X, 0 * X)]
    expected = (logits[0] - logits[1])[np.arange(3), TARGET]
    errors = []
    for steps in (10, 40):
        attribute = guided_integrated_gradients(models.smooth_mlp, steps=steps)
        received = compiled(attribute)(LAYERS, X, TARGET).sum(1)
        errors.append(np.abs(received - expected).max())
    assert errors[1] < errors[0] / 8  # quadratic: by 16


def test_a_compiled_step_is_right_for_other_arrays_and_reads_no_freed_memory():
    attribute = guided_integrated_gradients(models.mlp, steps=3, baseline=START)
    start = jnp.asarray(np.broadcast_to(START, X.shape))
    whole = guided_integrated_gradients(models.mlp, steps=3, baseline=start)
    for layers in (LAYERS, jax.tree.map(lambda w: 2 * w, LAYERS)):
        for x in (X, 1 - X):
            expected = whole(layers, jnp.asarray(x), TARGET)
            received = attribute(layers, x, TARGET)
            np.testing.assert_array_equal(received, expected)
    assert not start.is_deleted()


def test_a_long_path_shows_its_progress_unless_it_is_compiled(capsys):
    attribute = guided_integrated_gradients(models.mlp, steps=20)
    compiled(attribute)(LAYERS, X, TARGET)
    assert not capsys.readouterr().err
    attribute(LAYERS, X, TARGET)
    assert "guided_integrated_gradients: 100%" in capsys.readouterr().err


def test_at_a_site_and_numbers_among_the_weights():
    def model(v, x):
        return jax.lax.fori_loop(0, v["steps"], lambda _, h: jnp.tanh(h @ v["w"]), x)

    variables = {"w": models.normal(0, 5, 5), "steps": 3}
    attribute = guided_integrated_gradients(model, steps=2)
    assert np.isfinite(attribute(variables, X, TARGET)).all()
    hidden = guided_integrated_gradients(models.mlp, steps=2, at="relu_1")
    received = hidden(LAYERS, X, TARGET)
    expected = models.mlp(LAYERS, X)[np.arange(3), TARGET] - LAYERS[-1]["b"][0, TARGET]
    np.testing.assert_allclose(received.sum(1), expected, rtol=1e-10)


def test_the_defaults_are_those_of_the_authors():
    options = {"steps": 200, "fraction": 0.25, "max_distance": 0.02}
    x, w = models.normal(31, 1, 12), W
    default = compiled(guided_integrated_gradients(wavy))(w, x, 0)
    same = compiled(guided_integrated_gradients(wavy, **options))(w, x, 0)
    np.testing.assert_array_equal(default, same)


def test_nan_stays_in_its_example_and_an_empty_batch_is_empty():
    x = np.where(np.arange(15).reshape(3, 5) == 7, np.nan, X)
    attribute = guided_integrated_gradients(models.mlp, steps=2)
    received = attribute(LAYERS, x, TARGET)
    assert np.isnan(received[1]).all()
    assert np.isfinite(np.asarray(received)[[0, 2]]).all()
    assert attribute(LAYERS, X[:0], TARGET[:0]).shape == (0, 5)
    nothing = guided_integrated_gradients(lambda w, x: x, steps=2, score=total)
    assert nothing(None, X[:, :0]).shape == (3, 0)


def test_float64_inputs_of_numpy_are_taken_without_float64():
    with jax.enable_x64(False):  # where a warning is an error
        weights = jax.tree.map(np.float32, LAYERS)
        received = guided_integrated_gradients(models.mlp, steps=2)(weights, X, TARGET)
        assert received.dtype == jnp.float32


def test_heat_lies_on_the_object():
    apply_fn, variables, draw = ji.models.pretrained("shapes_cnn")
    data = draw(jax.random.key(1), 2)
    attribute = jax.jit(guided_integrated_gradients(apply_fn, steps=10))
    heat = np.abs(attribute(variables, data.images, data.labels)).sum(-1)
    mask = np.asarray(data.mask)
    assert (heat * mask).sum() > 3 * mask.mean() * heat.sum()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("steps", 0, "integer of at least 1"),
        ("fraction", 1.5, "lie between 0 and 1"),
        ("max_distance", -0.1, "lie between 0 and 1"),
    ],
)
def test_what_hyperparameters_have_to_be(name, value, message, unchecked):
    with pytest.raises(ValueError, match=f"guided_.*`{name}` must .*{message}"):
        guided_integrated_gradients(models.mlp, **{name: value})


def test_a_baseline_that_does_not_fit_is_an_error():
    with pytest.raises(ValueError, match="does not broadcast"):
        guided_integrated_gradients(models.mlp, baseline=np.zeros(4))(LAYERS, X, TARGET)
