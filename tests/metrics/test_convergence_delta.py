"""What is missing from a sum of attributions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.attribution import integrated_gradients
from jaxinterp.metrics import convergence_delta
from jaxinterp.objectives import channel, total
from tests.networks import functions as models

LAYERS, X, TARGET = models.mlp_weights(), models.vectors(), models.targets()


def test_the_delta_is_what_is_missing():
    measure = convergence_delta(models.two_inputs, score=total)
    variables, x = models.two_weights(), models.pair()
    nothing = jax.tree.map(np.zeros_like, x)
    gain = models.two_inputs(variables, x) - models.two_inputs(variables, nothing)
    np.testing.assert_allclose(
        measure(variables, x, nothing), -gain.sum(axis=1), rtol=1e-12
    )


@pytest.mark.parametrize("unit", [None, "tanh_1:2", channel("tanh", 1)], ids=str)
def test_attributions_add_up_as_steps_grow(unit):
    options = {"baseline": 0.25} | ({} if unit is None else {"score": unit})
    measure = convergence_delta(models.smooth_mlp, **options)
    errors = []
    for steps in (2, 4, 24):
        attribute = integrated_gradients(models.smooth_mlp, steps=steps, **options)
        received = attribute(LAYERS, X, TARGET)
        error = measure(LAYERS, X, received, TARGET)
        assert error.shape == (3,)
        errors.append(float(np.abs(error).max()))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-9


def scaled(w, x):
    return w * jnp.asarray(x)


def test_a_baseline_that_is_drawn_takes_the_key():
    def drawn(inputs, key):
        return jax.random.normal(key, inputs.shape)

    options = {"baseline": drawn, "score": total}
    attribute = integrated_gradients(scaled, steps=2, **options)
    measure = convergence_delta(scaled, **options)
    key = jax.random.key(0)
    received = attribute(2.0, X, key=key)
    np.testing.assert_allclose(measure(2.0, X, received, key=key), 0, atol=1e-12)
    other = measure(2.0, X, received, key=jax.random.key(1))
    assert np.abs(other).max() > 0.1


def test_what_is_no_score_of_each_example_is_an_error():
    """The sum over the batch would broadcast."""
    measure = convergence_delta(models.mlp, score=lambda y, target: y.sum())
    with pytest.raises(ValueError, match="must return one number per example"):
        measure(LAYERS, X, X)
    measure = convergence_delta(models.mlp)
    with pytest.raises(ValueError, match="`attributions` hold no array"):
        measure(LAYERS, X, None, TARGET)
    with pytest.raises(TypeError, match="must be an array with the batch"):
        measure(LAYERS, X.tolist(), X, TARGET)
    with pytest.raises(TypeError, match="A baseline is a number or an array"):
        convergence_delta(models.mlp, baseline="zero")(LAYERS, X, X, TARGET)
