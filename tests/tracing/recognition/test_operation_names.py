"""Operations are called what a person calls them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

from tests.tracing.arrays import names, normal

X = normal(2, 5)
IMAGE = normal(2, 4, 4, 3)
JAX_NN = (
    *("relu", "relu6", "leaky_relu", "elu", "selu", "celu", "silu", "mish"),
    *("softplus", "hard_silu", "hard_tanh", "hard_sigmoid", "sigmoid", "soft_sign"),
    *("squareplus", "log_sigmoid", "gelu", "softmax", "log_softmax"),
)
NAMES = {
    **{name: getattr(jax.nn, name) for name in JAX_NN},
    "tanh": jnp.tanh,
    "abs": jnp.abs,
    "exp": jnp.exp,
    "square": lambda x: x * x,
    "power": lambda x: x**3,
    "reciprocal": lambda x: 1 / x,
    "clip": lambda x: jnp.clip(x, 0, 1),
    "where": lambda x: jnp.where(jnp.isnan(x), 0, x),
    "scale": lambda x: 2 * x + 1,
    "mean": lambda x: x.mean(1),
    "sum": lambda x: x.sum(1),
    "center": lambda x: x - x.mean(1, keepdims=True),
    "cumsum": lambda x: jnp.cumsum(x, 1),
    "max": lambda x: x.max(1),
    "min": lambda x: x.min(1),
    "sort": lambda x: jnp.sort(x, 1),
    "logsumexp": lambda x: jax.nn.logsumexp(x, axis=1),
    "layer_norm": jax.nn.standardize,
    "rms_norm": lambda x: x * lax.rsqrt((x * x).mean(1, keepdims=True) + 1e-5),
    "normalize": lambda x: x / jnp.abs(x).sum(1, keepdims=True),
    "matmul": lambda x: x @ x.T,
    "cumprod": lambda x: jnp.cumprod(x, 1),
}


@pytest.mark.parametrize(("name", "fn"), NAMES.items(), ids=NAMES.keys())
def test_an_operation_has_its_name(name, fn):
    assert names(lambda v, x: fn(x), None, X) == [name]


@pytest.mark.parametrize(
    ("name", "fn"),
    [
        ("relu", lambda x: jnp.maximum(x, 0)),
        ("relu", lambda x: jnp.where(x > 0, x, 0)),
        ("leaky_relu", lambda x: jnp.where(x > 0, x, 0.1 * x)),
        ("elu", lambda x: jnp.where(x > 0, x, jnp.exp(x) - 1)),
        ("gelu", lambda x: 0.5 * x * (1 + lax.erf(x / np.sqrt(2.0)))),
        ("silu", lambda x: x * jax.nn.sigmoid(x)),
        ("softplus", lambda x: jnp.log1p(jnp.exp(x))),
        ("softplus", lambda x: jnp.logaddexp(x, 0.0)),
        ("activation", lambda x: x + jnp.sin(x) ** 2),
    ],
)
def test_a_spelling_by_hand_has_the_name_too(name, fn):
    assert names(lambda v, x: fn(x), None, X) == [name]


@pytest.mark.parametrize(
    ("name", "fn"),
    [
        ("max_pool", lambda x: nn.max_pool(x, (2, 2))),
        ("avg_pool", lambda x: nn.avg_pool(x, (2, 2))),
        ("mean", lambda x: x.mean((1, 2))),
        (
            "local_response_norm",
            lambda x: (
                x
                / (
                    1
                    + lax.reduce_window(
                        x * x, 0.0, lax.add, (1, 1, 1, 3), (1,) * 4, "SAME"
                    )
                )
                ** 0.75
            ),
        ),
    ],
)
def test_an_operation_on_images_has_its_name(name, fn):
    assert names(lambda v, x: fn(x), None, IMAGE) == [name]


def test_two_of_a_name_are_numbered():
    model = lambda v, x: jnp.tanh(jnp.tanh(jax.nn.relu(jnp.tanh(x))))  # noqa: E731
    assert names(model, None, X) == ["tanh", "relu", "tanh_1", "tanh_2"]


def test_the_innermost_function_names_its_activation():
    @jax.jit
    def lifted_relu(x):
        return 0.9 * jax.nn.relu(x) - 0.4

    forward = jax.jit(lambda v, x: lifted_relu(jax.jit(lambda x: jnp.tanh(x))(x)))
    assert names(forward, None, X) == ["tanh", "lifted_relu"]
