"""Models in Flax NNX: an MLP, a CNN, a residual network and a transformer."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from .architecture import (
    CLASSES,
    Architecture,
    images,
    key_of,
    randomize,
    sequences,
    target_of,
    vectors,
)

FEATURES = 12


class NnxMlp(nnx.Module):
    """Dense layers with a relu between them."""

    def __init__(self, rngs: nnx.Rngs):
        """Makes three layers."""
        widths = (FEATURES, 16, 12, CLASSES)
        self.layers = nnx.List(
            nnx.Linear(fan_in, fan_out, rngs=rngs)
            for fan_in, fan_out in itertools.pairwise(widths)
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns logits."""
        *hidden, last = self.layers
        for layer in hidden:
            x = nnx.relu(layer(x))
        return last(x)


class ConvNorm(nnx.Module):
    """A convolution and its batch norm, in inference."""

    def __init__(self, inputs: int, outputs: int, stride: int, rngs: nnx.Rngs):
        """Makes a convolution of size 3."""
        self.conv = nnx.Conv(inputs, outputs, (3, 3), strides=stride, rngs=rngs)
        self.norm = nnx.BatchNorm(outputs, use_running_average=True, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns normalized features."""
        return self.norm(self.conv(x))


class NnxCnn(nnx.Module):
    """Two convolutions with batch norm, a max pool, and two dense layers."""

    def __init__(self, rngs: nnx.Rngs):
        """Makes the layers for images of 16 x 16."""
        self.first = ConvNorm(3, 6, 1, rngs)
        self.second = ConvNorm(6, 8, 2, rngs)
        self.hidden = nnx.Linear(4 * 4 * 8, 16, rngs=rngs)
        self.head = nnx.Linear(16, CLASSES, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns logits."""
        x = nnx.max_pool(nnx.relu(self.first(x)), (2, 2), (2, 2))
        x = nnx.relu(self.second(x)).reshape(x.shape[0], -1)
        return self.head(nnx.relu(self.hidden(x)))


class NnxResidualBlock(nnx.Module):
    """Two convolutions beside a projection or an identity."""

    def __init__(self, inputs: int, outputs: int, stride: int, rngs: nnx.Rngs):
        """Makes a projection where the shapes differ."""
        self.first = ConvNorm(inputs, outputs, stride, rngs)
        self.second = ConvNorm(outputs, outputs, 1, rngs)
        is_same = inputs == outputs and stride == 1
        self.shortcut = None if is_same else ConvNorm(inputs, outputs, stride, rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns `relu(shortcut + branch)`."""
        y = self.second(nnx.relu(self.first(x)))
        return nnx.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class NnxResNet(nnx.Module):
    """Three residual blocks and a global mean."""

    def __init__(self, rngs: nnx.Rngs):
        """Makes the blocks."""
        self.stem = ConvNorm(3, 6, 1, rngs)
        self.blocks = nnx.List(
            NnxResidualBlock(inputs, outputs, stride, rngs)
            for inputs, outputs, stride in ((6, 6, 1), (6, 8, 2), (8, 8, 1))
        )
        self.head = nnx.Linear(8, CLASSES, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns logits."""
        x = nnx.relu(self.stem(x))
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((1, 2)))


class NnxTransformer(nnx.Module):
    """One encoder block with NNX's attention, and a mean over tokens."""

    def __init__(self, rngs: nnx.Rngs):
        """Makes a block of 16 features and 2 heads."""
        self.embed = nnx.Linear(5, 16, rngs=rngs)
        self.attention_norm = nnx.LayerNorm(16, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(
            2, 16, deterministic=True, decode=False, rngs=rngs
        )
        self.mlp_norm = nnx.LayerNorm(16, rngs=rngs)
        self.up = nnx.Linear(16, 32, rngs=rngs)
        self.down = nnx.Linear(32, 16, rngs=rngs)
        self.head = nnx.Linear(16, CLASSES, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns logits."""
        x = self.embed(x)
        x = x + self.attention(self.attention_norm(x))
        x = x + self.down(nnx.gelu(self.up(self.mlp_norm(x))))
        return self.head(x.mean(1))


MODULES: dict[str, Callable[[nnx.Rngs], nnx.Module]] = {
    "nnx_mlp": NnxMlp,
    "nnx_cnn": NnxCnn,
    "nnx_resnet": NnxResNet,
    "nnx_transformer": NnxTransformer,
}


def nnx_module(name: str) -> nnx.Module:
    """Returns the NNX module of an entry, with the weights that `build` returns."""
    graph, state = _randomized(name)
    return nnx.merge(graph, state)


def _randomized(name: str) -> tuple[Any, Any]:
    abstract = nnx.eval_shape(lambda: MODULES[name](nnx.Rngs(0)))
    graph, state = nnx.split(abstract)
    return graph, randomize(state, key_of(name))


def _nnx_architecture(
    name: str, inputs: Callable[[], jax.Array], *tags: str
) -> Architecture:
    def build() -> tuple[Callable[..., Any], Any]:
        graph, state = _randomized(name)
        return lambda variables, x: nnx.merge(graph, variables)(x), state

    return Architecture(
        name, build, inputs, target_of(name), tags=frozenset({"nnx", *tags})
    )


ENTRIES = (
    _nnx_architecture("nnx_mlp", vectors(FEATURES), "dense"),
    _nnx_architecture("nnx_cnn", images(16), "cnn", "batch_norm", "max_pool"),
    _nnx_architecture("nnx_resnet", images(16), "cnn", "batch_norm", "residual"),
    _nnx_architecture(
        "nnx_transformer", sequences(6, 5), "attention", "layer_norm", "residual"
    ),
)
