"""Dense networks: a classifier, the MLP of a transformer, a generator of images.

Layers are numbered in the order in which they run, and activations have their own names
beside them: `MLP/layers_0`, `MLP/relu`, `MLP/layers_1`, `MLP/relu_1`,
`MLP/layers_2`, and so from `MLPGenerator/layers_0` to `MLPGenerator/tanh`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping

import flax.linen as nn
import jax
from jaxtyping import Array, Float

Activation = Callable[[Float[Array, "..."]], Float[Array, "..."]]


def gelu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""The exact GELU, $x \, \Phi(x)$ with the normal distribution function $\Phi$.

    The same as `jax.nn.gelu(x, approximate=False)`, which copies its result, so that
    every `gelu` would be followed by a site `copy`.

    Args:
        x: pre-activations.

    Example:
        >>> [round(y, 3) for y in gelu(jnp.array([-1.0, 0.0, 1.0])).tolist()]
        [-0.159, 0.0, 0.841]
    """
    return 0.5 * x * jax.lax.erfc(-x * math.sqrt(0.5))


ACTIVATIONS: Mapping[str, Activation] = {
    "gelu": gelu,
    "gelu_tanh": functools.partial(nn.gelu, approximate=True),
    "relu": nn.relu,
    "sigmoid": nn.sigmoid,
    "silu": nn.silu,
    "softplus": nn.softplus,
    "tanh": nn.tanh,
}


def activation(name: str) -> Activation:
    """Returns the activation function of a name.

    Args:
        name: a key of `ACTIVATIONS`; `gelu` is exact, `gelu_tanh` its approximation.

    Raises:
        ValueError: if there is no activation of that name.

    Example:
        >>> activation("relu")(jnp.array([-1.0, 2.0])).tolist()
        [0.0, 2.0]
    """
    if name not in ACTIVATIONS:
        raise ValueError(
            f"There is no activation {name!r}. There are: {', '.join(ACTIVATIONS)}."
        )
    return ACTIVATIONS[name]


def hidden_layers(
    x: Float[Array, "batch features"],
    widths: tuple[int, ...],
    activate: Activation = nn.relu,
) -> Float[Array, "batch hidden"]:
    """Applies dense layers `layers_0`, `layers_1`, ..., each with its activation.

    Call it in a compact method: the layers become submodules of its module.

    Args:
        x: the features that the first layer reads.
        widths: how many features each layer has.
        activate: the activation that follows each layer.

    Example:
        >>> class Model(nn.Module):
        ...     @nn.compact
        ...     def __call__(self, x):
        ...         return hidden_layers(x, (4, 3))
        >>> x = jnp.ones((2, 5))
        >>> jax.eval_shape(Model().init, jax.random.key(0), x)["params"].keys()
        dict_keys(['layers_0', 'layers_1'])
    """
    for i, width in enumerate(widths):
        x = activate(nn.Dense(width, name=f"layers_{i}")(x))
    return x


class MLP(nn.Module):
    """Dense layers with an activation between them; inputs are flattened.

    Attributes:
        outputs: how many logits or regressed values there are.
        widths: how many features each hidden layer has.
        activation: name of the activation, see `ACTIVATIONS`.

    Example:
        >>> model = MLP(outputs=2, widths=(8, 8), activation="tanh")
        >>> variables = model.init(jax.random.key(0), jnp.ones((1, 5)))
        >>> model.apply(variables, jnp.ones((4, 5))).shape
        (4, 2)
    """

    outputs: int
    widths: tuple[int, ...] = (64, 64)
    activation: str = "relu"

    @nn.compact
    def __call__(self, x: Float[Array, "batch ..."]) -> Float[Array, "batch outputs"]:
        """Returns the outputs of the last layer, with no activation after them."""
        # Not `reshape(n, -1)`, which cannot tell the size from an empty batch.
        x = jax.lax.collapse(x, 1)
        x = hidden_layers(x, self.widths, activation(self.activation))
        return nn.Dense(self.outputs, name=f"layers_{len(self.widths)}")(x)


class FeedForward(nn.Module):
    """The MLP of a transformer block: up, activation, down, at each position alone.

    Attributes:
        width: how many features there are between the two layers, the neurons.
        activation: name of the activation, see `ACTIVATIONS`.
        use_bias: whether the layers add a bias.

    Example:
        >>> model, x = FeedForward(width=8), jnp.ones((1, 3, 4))
        >>> init = model.init_with_output
        >>> outputs, _ = jax.eval_shape(init, jax.random.key(0), x)
        >>> outputs.shape
        (1, 3, 4)
    """

    width: int
    activation: str = "gelu"
    use_bias: bool = True

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch position width"]
    ) -> Float[Array, "batch position width"]:
        """Returns as many features as `x` has."""
        hidden = nn.Dense(self.width, use_bias=self.use_bias, name="up")(x)
        hidden = activation(self.activation)(hidden)
        return nn.Dense(x.shape[-1], use_bias=self.use_bias, name="down")(hidden)


class MLPGenerator(nn.Module):
    """The generator of a GAN, from a standard normal latent to an image in [-1, 1].

    The defaults are those of a small generator of MNIST digits, whose latent has 64
    features.

    Attributes:
        image_shape: height, width and channels of the image.
        widths: how many features each hidden layer has.

    Example:
        >>> model = MLPGenerator(image_shape=(8, 8, 1), widths=(16,))
        >>> init = model.init_with_output
        >>> images, _ = jax.eval_shape(init, jax.random.key(0), jnp.ones((2, 4)))
        >>> images.shape
        (2, 8, 8, 1)
    """

    image_shape: tuple[int, int, int] = (28, 28, 1)
    widths: tuple[int, ...] = (256, 256)

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch latent"]
    ) -> Float[Array, "batch height width channels"]:
        """Returns one image for each latent."""
        x = hidden_layers(x, self.widths)
        size = math.prod(self.image_shape)
        x = nn.tanh(nn.Dense(size, name=f"layers_{len(self.widths)}")(x))
        return x.reshape(x.shape[0], *self.image_shape)
