"""Networks that are small, and images for them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

SHAPE = (9, 12, 3)


class Net(nn.Module):
    """Two convolutions, pooled, and logits."""

    features: int = 5

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(self.features, (3, 3), name="first")(x))
        x = nn.relu(nn.Conv(self.features, (3, 3), strides=2, name="second")(x))
        return nn.Dense(4, name="logits")(x.mean(axis=(1, 2)))


NET = Net()
VARIABLES = NET.init(jax.random.key(0), jnp.zeros((1, *SHAPE), jnp.float32))


def tanh_model(w: Any, x: Any) -> Any:
    """A layer of one site, `tanh`, that looks at each pixel alone."""
    return jnp.tanh(x @ w)


def noise(*counts: int, seed: int = 0, shape: Any = SHAPE, dtype: Any = None) -> Any:
    """Returns noise in [0, 1], float32 unless said otherwise."""
    random = np.random.default_rng(seed)
    return jnp.asarray(random.random((*counts, *shape)), dtype or jnp.float32)
