"""A Llama: RMS norm, rotary positions, grouped queries, a gated MLP, no biases."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from .architecture import linen_architecture, tokens

VOCABULARY = 19


def rotate(x: jax.Array) -> jax.Array:
    """Returns `x` of shape (batch, length, heads, size) turned by its position."""
    length, half = x.shape[1], x.shape[-1] // 2
    frequencies = 100.0 ** (-np.arange(half) / half)
    angles = np.arange(length)[:, None] * frequencies
    cosine = jnp.asarray(np.cos(angles)[None, :, None], x.dtype)
    sine = jnp.asarray(np.sin(angles)[None, :, None], x.dtype)
    first, second = jnp.split(x, 2, axis=-1)
    return jnp.concatenate(
        [first * cosine - second * sine, second * cosine + first * sine], axis=-1
    )


class GroupedAttention(nn.Module):
    """Causal attention in which several query heads share keys and values."""

    heads: int = 4
    groups: int = 2

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns as many features as it gets."""
        width = x.shape[-1]
        size = width // self.heads

        def project(name: str, heads: int) -> jax.Array:
            y = nn.Dense(heads * size, use_bias=False, name=name)(x)
            return y.reshape(*x.shape[:2], heads, size)

        query = rotate(project("query", self.heads))
        key = rotate(project("key", self.groups))
        value = project("value", self.groups)
        mixed = jax.nn.dot_product_attention(query, key, value, is_causal=True)
        return nn.Dense(width, use_bias=False, name="out")(mixed.reshape(x.shape))


class GatedFeedForward(nn.Module):
    """SwiGLU: a swish gate times a linear map, then down."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns as many features as it gets."""
        width = x.shape[-1]
        gate = nn.silu(nn.Dense(2 * width, use_bias=False, name="gate")(x))
        up = nn.Dense(2 * width, use_bias=False, name="up")(x)
        return nn.Dense(width, use_bias=False, name="down")(gate * up)


class Llama(nn.Module):
    """A language model in the manner of Llama.

    Attributes:
        vocabulary: number of tokens.
        width: features of a token.
        depth: number of blocks.
        predicts_last: return the logits after the last token alone.
    """

    vocabulary: int = VOCABULARY
    width: int = 16
    depth: int = 2
    predicts_last: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns logits of the next token."""
        x = nn.Embed(self.vocabulary, self.width, name="token_embedding")(x)
        for _ in range(self.depth):
            x = x + GroupedAttention()(nn.RMSNorm()(x))
            x = x + GatedFeedForward()(nn.RMSNorm()(x))
        logits = nn.Dense(self.vocabulary, use_bias=False, name="head")(nn.RMSNorm()(x))
        return logits[:, -1] if self.predicts_last else logits


ENTRIES = (
    linen_architecture(
        Llama(),
        "llama",
        tokens(8, VOCABULARY),
        "attention",
        "rms_norm",
        "residual",
        "gate",
        "tokens",
        token_site_hint="*/token_embedding/*",
    ),
)
