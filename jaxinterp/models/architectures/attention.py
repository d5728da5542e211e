r"""Attention, written so that each of its steps has an address.

$$\mathrm{out} = \sum_h \mathrm{softmax}\!\left(
    \frac{q_h k_h^\top}{\sqrt d} + \mathrm{mask}\right) v_h\, W_h$$

The steps of one layer are sites, named as the literature on circuits names them. After
the address of the layer, `Transformer/blocks_0/attention` for the first of a model:

| site | shape | what |
|---|---|---|
| `/query`, `/key`, `/value` | (batch, position, head, head_width) | the projections |
| `/scores` | (batch, head, query, key) | scaled products, before the mask |
| `/softmax` | (batch, head, query, key) | the attention pattern |
| `/heads` | (batch, position, head, head_width) | what each head reads |
| `/out` | (batch, position, width) | the sum of what the heads write |

Kernels have an axis of heads: `query/kernel` is (width, head, head_width) and
`out/kernel` (head, head_width, width), so that the kernel of head `h` is a slice.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

# The features of every position, which blocks read and write.
Stream = Float[Array, "batch position width"]

# True where a query may attend to a key; broadcast over batch, heads and queries.
Mask = Bool[Array, "_ 1 _ position"]


def rotate(
    x: Float[Array, "batch position head head_width"], base: float = 10_000.0
) -> Float[Array, "batch position head head_width"]:
    r"""Turns pairs of features by angles that grow with the position.

    $$(x_j, x_{j + d/2}) \mapsto (x_j \cos p\theta_j - x_{j + d/2} \sin p\theta_j,\;
      x_{j + d/2} \cos p\theta_j + x_j \sin p\theta_j), \quad
      \theta_j = \mathrm{base}^{-2j/d}$$

    The product of a rotated query and a rotated key then depends on their positions
    $p$ through the difference alone. A pair is a feature of the first half and the
    corresponding one of the second, as in the checkpoints of Hugging Face; if a
    checkpoint pairs neighbors, the name map reorders the kernels.

    Args:
        x: queries or keys, with an even number of features in each head.
        base: the base of the geometric sequence of frequencies.

    Raises:
        ValueError: if the number of features in a head is odd.

    Example:
        >>> rotate(jnp.ones((1, 2, 1, 2))).shape
        (1, 2, 1, 2)
    """
    length, width = x.shape[1], x.shape[-1]
    if width % 2:
        raise ValueError(
            f"Rotary positions turn pairs of features, and a head has {width} features."
            " Choose an even `head_width`."
        )
    frequencies = base ** (-np.arange(0, width, 2) / width)
    angles = np.arange(length)[:, None] * frequencies
    cosine, sine = np.cos(angles), np.sin(angles)
    own = np.concatenate([cosine, cosine], axis=-1)[None, :, None]
    partner = np.concatenate([-sine, sine], axis=-1)[None, :, None]
    first, second = jnp.split(x, 2, axis=-1)
    swapped = jnp.concatenate([second, first], axis=-1)
    # A sum of two scaled copies of `x` is one linear map, and so one site of a trace.
    return x * jnp.asarray(own, x.dtype) + swapped * jnp.asarray(partner, x.dtype)


def attend(
    query: Float[Array, "batch query head head_width"],
    key: Float[Array, "batch key head head_width"],
    value: Float[Array, "batch key head head_width"],
    mask: Bool[Array, "_ 1 _ key"] | None = None,
) -> Float[Array, "batch query head head_width"]:
    """Returns, for each head and position, the mean of the values it attends to.

    Args:
        query: the query of each position and head.
        key: the key of each position and head.
        value: the value of each position and head.
        mask: true where a query may attend to a key; broadcast over batch, heads and
            queries.

    Example:
        >>> x = jnp.ones((1, 3, 2, 4))
        >>> attend(x, x, x).shape
        (1, 3, 2, 4)
    """
    with jax.named_scope("scores"):
        scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) / query.shape[-1] ** 0.5
    if mask is not None:
        with jax.named_scope("mask"):
            # Finite, because infinity times the zero gradient of the softmax is NaN.
            scores = jnp.where(mask, scores, jnp.finfo(scores.dtype).min)
    with jax.named_scope("softmax"):
        pattern = nn.softmax(scores, axis=-1)
    with jax.named_scope("heads"):
        return jnp.einsum("bhqk,bkhd->bqhd", pattern, value)


def causal_mask(length: int) -> Bool[Array, "1 1 query key"]:
    """Returns the mask by which a position attends to itself and earlier ones.

    Args:
        length: how many positions there are.

    Example:
        >>> causal_mask(2)[0, 0].tolist()
        [[True, False], [True, True]]
    """
    return jnp.tril(jnp.ones((1, 1, length, length), bool))


class Attention(nn.Module):
    """Self-attention with several heads; keys and values may be shared by groups.

    Attributes:
        heads: how many query heads there are.
        head_width: how many features a head has; `width // heads` by default.
        key_heads: how many key heads, and value heads, there are; each is shared by
            `heads // key_heads` neighboring query heads. As many as `heads` by default.
        use_bias: whether the projections add a bias.
        rotary_base: the base of rotary positions, see `rotate`; `None` for no rotation.

    Example:
        >>> model, x = Attention(heads=2), jnp.ones((1, 3, 4))
        >>> init = model.init_with_output
        >>> outputs, variables = jax.eval_shape(init, jax.random.key(0), x)
        >>> outputs.shape, variables["params"]["query"]["kernel"].shape
        ((1, 3, 4), (4, 2, 2))
    """

    heads: int
    head_width: int | None = None
    key_heads: int | None = None
    use_bias: bool = True
    rotary_base: float | None = None

    @nn.compact
    def __call__(self, x: Stream, mask: Mask | None = None) -> Stream:
        """Returns what the heads write together.

        Args:
            x: the features of every position.
            mask: which keys each query may attend to; all of them by default.

        Raises:
            ValueError: if `heads` does not divide the width, or `key_heads` does not
                divide `heads`.
        """
        width = x.shape[-1]
        key_heads = self.heads if self.key_heads is None else self.key_heads
        if self.head_width is None and width % self.heads:
            raise ValueError(
                f"{self.heads} heads do not divide a width of {width}. Choose a "
                "multiple, or give `head_width`."
            )
        if self.heads % key_heads:
            raise ValueError(
                f"{key_heads} key heads cannot be shared evenly by {self.heads} query "
                "heads. Choose a divisor."
            )
        head_width = self.head_width or width // self.heads

        def project(name: str, heads: int) -> Float[Array, "_ _ _ _"]:
            features = (heads, head_width)
            return nn.DenseGeneral(features, use_bias=self.use_bias, name=name)(x)

        query = project("query", self.heads)
        key, value = project("key", key_heads), project("value", key_heads)
        if self.rotary_base is not None:
            with jax.named_scope("query_rotated"):
                query = rotate(query, self.rotary_base)
            with jax.named_scope("key_rotated"):
                key = rotate(key, self.rotary_base)
        if key_heads != self.heads:
            with jax.named_scope("key_shared"):
                key = jnp.repeat(key, self.heads // key_heads, axis=2)
            with jax.named_scope("value_shared"):
                value = jnp.repeat(value, self.heads // key_heads, axis=2)
        heads = attend(query, key, value, mask)
        out = nn.DenseGeneral(width, axis=(-2, -1), use_bias=self.use_bias, name="out")
        return out(heads)
