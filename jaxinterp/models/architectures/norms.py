"""Norms with the constants of the libraries that trained the checkpoints.

Flax's defaults differ. With other constants, or a variance that is computed otherwise,
the same weights load without an error and lose accuracy.
"""

from __future__ import annotations

from typing import NamedTuple

from flax import linen as nn
from jaxtyping import Array, Float


class BatchNormSettings(NamedTuple):
    """The constants of a library's batch norm.

    Attributes:
        momentum: the share of the old average that each step of training keeps.
        epsilon: the number that is added to the variance.

    Example:
        >>> TORCH.momentum, KERAS.momentum
        (0.9, 0.99)
    """

    momentum: float
    epsilon: float


# torch states the share of the new average, 0.1.
TORCH = BatchNormSettings(momentum=0.9, epsilon=1e-5)

KERAS = BatchNormSettings(momentum=0.99, epsilon=1e-3)


def batch_norm(
    x: Float[Array, "batch ... channels"],
    train: bool,
    name: str,
    settings: BatchNormSettings = TORCH,
) -> Float[Array, "batch ... channels"]:
    """Normalizes each channel, by running averages or by the batch.

    Call it in a compact method: the norm becomes a submodule of its module.

    Args:
        x: features, channels last.
        train: whether the statistics are those of the batch, which then change the
            averages in the collection `batch_stats`.
        name: the name of the submodule.
        settings: the constants of the library that trained the weights.

    Raises:
        ValueError: if a batch without examples is used to train, which would make every
            average NaN.

    Example:
        >>> class Model(nn.Module):
        ...     @nn.compact
        ...     def __call__(self, x):
        ...         return batch_norm(x, train=False, name="bn1")
        >>> images = jnp.ones((2, 4, 4, 3))
        >>> jax.eval_shape(Model().init, jax.random.key(0), images)["params"].keys()
        dict_keys(['bn1'])
    """
    if train and not x.shape[0]:
        raise ValueError(
            f"A batch norm cannot train on features of shape {x.shape}: there is no "
            "example. Leave empty batches out, or call the model with `train=False`."
        )
    return nn.BatchNorm(not train, **settings._asdict(), name=name)(x)


def layer_norm(
    x: Float[Array, "*batch width"], epsilon: float, name: str, use_bias: bool = True
) -> Float[Array, "*batch width"]:
    """Normalizes the features of each position, by the variance around their mean.

    Call it in a compact method: the norm becomes a submodule of its module.

    Args:
        x: the features of every position.
        epsilon: the number that is added to the variance.
        name: the name of the submodule.
        use_bias: whether the norm adds a bias.

    Example:
        >>> class Model(nn.Module):
        ...     @nn.compact
        ...     def __call__(self, x):
        ...         return layer_norm(x, 0.0, "norm")
        >>> y, _ = Model().init_with_output(jax.random.key(0), jnp.array([[1.0, 3.0]]))
        >>> y.round(3).tolist()
        [[-1.0, 1.0]]
    """
    # The fast variance, E[x^2] - E[x]^2, cancels where features have a large mean.
    norm = nn.LayerNorm(
        epsilon=epsilon, use_bias=use_bias, use_fast_variance=False, name=name
    )
    return norm(x)
