"""`split` gives the model up to a site, and from it on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxinterp import split, trace
from jaxinterp.tracing import AddressError, EditError
from tests.networks.blocks import Block, Reused, Scanned, scanned
from tests.tracing.arrays import normal, weights

X = normal(2, 4)


class Normalized(nn.Module):
    """A layer with batch norm around it, folded into one region for rules."""

    @nn.compact
    def __call__(self, x):
        x = nn.BatchNorm(use_running_average=True)(x)
        x = nn.Dense(4)(x)
        return nn.relu(nn.BatchNorm(use_running_average=True)(x)) + x


@pytest.mark.parametrize("module", [Block(), Reused(), Normalized(), Scanned()])
def test_decode_of_encode_is_the_model_at_every_site(module):
    variables = weights(module, X)
    sites = trace(module.apply, variables, X).sites
    tried = [site for site in sites.values() if not site.length][::2]
    assert len(tried) > 1
    for site in tried:
        encode, decode = split(module.apply, site.address)
        found = decode(variables, encode(variables, X), X)
        np.testing.assert_allclose(found, module.apply(variables, X), rtol=1e-12)


def test_decode_computes_with_the_activation_it_is_given():
    encode, decode = split(lambda v, x: jnp.tanh(x @ v) * 3 + x, "tanh")
    w, h = normal(4, 4), normal(2, 4, seed=1)
    np.testing.assert_allclose(encode(w, X), jnp.tanh(X @ w), rtol=1e-12)
    np.testing.assert_allclose(decode(w, h, X), h * 3 + X, rtol=1e-12)
    slope = jax.grad(lambda h: decode(w, h, X).sum())(h)
    np.testing.assert_allclose(slope, jnp.full((2, 4), 3.0))


@pytest.mark.usefixtures("unchecked")
def test_bad_sites_and_activations_are_errors():
    w = normal(4, 4)
    encode, decode = split(scanned, "tanh")
    assert encode(w, X).shape == (4, 2, 4)
    with pytest.raises(ValueError, match=r"(?s)\.py:.*inside a loop.*`intervene`"):
        decode(w, encode(w, X), X)
    with pytest.raises(AddressError, match="No site matches"):
        split(scanned, "sin")[0](w, X)
    with pytest.raises(EditError, match=r"float64\[2, 4\]"):
        split(lambda v, x: jnp.tanh(x), "tanh")[1](None, X[:1], X)
    with pytest.raises(TypeError, match="A site is an address"):
        split(scanned, None)


def test_an_arm_of_a_branch_is_no_place_to_start():
    def model(v, x):
        return jax.lax.cond(x.sum() > 0, jnp.tanh, jnp.sin, x)

    with pytest.raises(ValueError, match="inside a loop or branch"):
        split(model, "tanh")[1](None, X, X)
