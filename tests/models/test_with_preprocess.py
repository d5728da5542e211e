"""A model behind its preprocessing: what it computes, and when two are one."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxinterp as ji
from jaxinterp.models import with_preprocess

IMAGES = np.random.default_rng(0).uniform(size=(3, 4, 5, 2)).astype(np.float32)


class Net(nn.Module):
    """A convolution and a relu."""

    @nn.compact
    def __call__(self, x, *, scale=1.0):
        """Returns scaled activations."""
        return nn.relu(nn.Conv(3, (3, 3), name="conv")(x)) * scale


NET = Net()
VARIABLES = NET.init(jax.random.key(0), IMAGES)


def centered(images):
    return 2 * images - 1


def test_it_is_the_model_of_what_the_preprocessing_makes():
    model = with_preprocess(NET.apply, centered)
    np.testing.assert_allclose(
        model(VARIABLES, IMAGES, scale=3.0),
        NET.apply(VARIABLES, 2 * IMAGES - 1, scale=3.0),
        rtol=1e-6,
    )
    assert model.__name__ == NET.apply.__name__
    assert model.__doc__ == NET.apply.__doc__


def test_sites_of_the_model_keep_their_names():
    sites = ji.trace(with_preprocess(NET.apply, centered), VARIABLES, IMAGES).sites
    plain = ji.trace(NET.apply, VARIABLES, IMAGES).sites
    others = {address: site for address, site in sites.items() if address in plain}
    assert list(others) == list(plain)
    assert [s.names for s in others.values()] == [s.names for s in plain.values()]
    assert [a.partition("/")[0] for a in sites.keys() - plain.keys()] == ["preprocess"]


def test_a_function_without_modules_keeps_its_names():
    def function(variables, x):
        return jnp.tanh(x - 1)

    sites = ji.trace(with_preprocess(function, lambda x: x - 2), None, IMAGES).sites
    assert list(sites) == ["preprocess", *ji.trace(function, None, IMAGES).sites]


@dataclasses.dataclass
class Unhashable:
    """Is compared by value, and so has no hash."""

    mean: float

    def __call__(self, images):
        return images - self.mean


def test_equal_models_share_a_program():
    unhashable = Unhashable(0.5)
    for preprocess in (centered, unhashable):
        chex.clear_trace_counter()
        run = chex.assert_max_traces(lambda model, x: model(VARIABLES, x), n=1)
        jitted = jax.jit(run, static_argnums=0)
        for _ in range(2):
            jitted(with_preprocess(NET.apply, preprocess), IMAGES)
    model = with_preprocess(NET.apply, centered)
    assert model == with_preprocess(NET.apply, centered)
    assert model != with_preprocess(NET.apply, lambda images: 2 * images - 1)
    assert model != with_preprocess(NET.apply, unhashable)


@pytest.mark.parametrize("wrong", [(3, centered), (NET.apply, None)])
def test_what_is_no_function_is_an_error(wrong):
    with pytest.raises(TypeError, match=r"is a function, and is (3|None)"):
        with_preprocess(*wrong)


def test_a_model_that_cannot_be_hashed_keeps_its_name_and_arguments():
    class Model:
        __hash__ = None

        def __call__(self, variables, x, shift=0.0):
            return variables * x + shift

    model = with_preprocess(Model(), lambda images: 2 * images)
    assert float(model(3.0, jnp.ones(()), shift=1.0)) == 7
    assert model.__name__ == "Model"
