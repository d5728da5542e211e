"""Llama: RMS norm, rotary positions, grouped-query attention, a gated MLP, no biases.

Addresses are those of `transformer.py`, and of each attention also
`Llama/blocks_0/attention/query_rotated` and `Llama/blocks_0/attention/key_rotated`.
The gated MLP has `Llama/blocks_0/mlp/gate`, `Llama/blocks_0/mlp/silu`,
`Llama/blocks_0/mlp/up`, their product `Llama/blocks_0/mlp/neurons` and
`Llama/blocks_0/mlp/down`.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from jaxinterp.models.architectures.attention import (
    Attention,
    Mask,
    Stream,
    causal_mask,
)


class GatedFeedForward(nn.Module):
    """SwiGLU: `down(silu(gate(x)) * up(x))`, at each position alone.

    Attributes:
        width: how many features there are between the layers, the neurons.

    Example:
        >>> model, x = GatedFeedForward(width=8), jnp.ones((1, 3, 4))
        >>> init = model.init_with_output
        >>> outputs, _ = jax.eval_shape(init, jax.random.key(0), x)
        >>> outputs.shape
        (1, 3, 4)

    References:
        Shazeer, 2020, eq. 6 [shazeer2020glu].
    """

    width: int

    @nn.compact
    def __call__(self, x: Stream) -> Stream:
        """Returns as many features as `x` has."""
        gate = nn.silu(nn.Dense(self.width, use_bias=False, name="gate")(x))
        up = nn.Dense(self.width, use_bias=False, name="up")(x)
        with jax.named_scope("neurons"):
            hidden = gate * up
        return nn.Dense(x.shape[-1], use_bias=False, name="down")(hidden)


class LlamaBlock(nn.Module):
    """Adds attention, then a gated MLP, to the stream.

    Attributes:
        heads: how many query heads there are.
        key_heads: how many key heads, and value heads, there are.
        mlp_width: how many neurons the MLP has.
        rotary_base: the base of the frequencies of rotary positions.
        norm_epsilon: the number that the norms add to the mean square.

    Example:
        >>> model = LlamaBlock(heads=2, key_heads=1, mlp_width=6)
        >>> x = jnp.ones((1, 3, 4))
        >>> init = model.init_with_output
        >>> outputs, _ = jax.eval_shape(init, jax.random.key(0), x)
        >>> outputs.shape
        (1, 3, 4)
    """

    heads: int
    key_heads: int
    mlp_width: int
    rotary_base: float = 10_000.0
    norm_epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: Stream, mask: Mask | None = None) -> Stream:
        """Returns the stream after the block."""
        attention = Attention(
            self.heads,
            key_heads=self.key_heads,
            use_bias=False,
            rotary_base=self.rotary_base,
            name="attention",
        )
        norm = nn.RMSNorm(epsilon=self.norm_epsilon, name="attention_norm")
        attention_output = attention(norm(x), mask)
        with jax.named_scope("residual_mid"):
            x = x + attention_output
        norm = nn.RMSNorm(epsilon=self.norm_epsilon, name="mlp_norm")
        change = GatedFeedForward(self.mlp_width, name="mlp")(norm(x))
        with jax.named_scope("residual"):
            return x + change


class Llama(nn.Module):
    """The decoder of tokens of the Llama family.

    The defaults are TinyLlama, of 1,100,048,384 parameters. The rescaled frequencies
    of Llama 3.1 and later are not supported.

    Attributes:
        vocabulary: how many different tokens there are.
        width: how many features the residual stream has.
        depth: how many blocks the model has.
        heads: how many query heads there are.
        key_heads: how many key heads, and value heads, there are; each is shared by a
            group of query heads.
        mlp_width: how many neurons each MLP has.
        is_tied: whether the embedding is also the unembedding.
        rotary_base: the base of the frequencies of rotary positions.
        norm_epsilon: the number that the norms add to the mean square.

    Example:
        >>> model = Llama(11, width=8, depth=1, heads=2, key_heads=1, mlp_width=12)
        >>> tokens = jnp.zeros((2, 5), int)
        >>> init = model.init_with_output
        >>> logits, _ = jax.eval_shape(init, jax.random.key(0), tokens)
        >>> logits.shape
        (2, 5, 11)

    References:
        Touvron et al., 2023, section 2.2 [touvron2023llama].
        Su et al., 2024, section 3.2 [su2024roformer].
    """

    vocabulary: int = 32_000
    width: int = 2048
    depth: int = 22
    heads: int = 32
    key_heads: int = 4
    mlp_width: int = 5632
    is_tied: bool = False
    rotary_base: float = 10_000.0
    norm_epsilon: float = 1e-5

    @nn.compact
    def __call__(
        self, tokens: Integer[Array, "batch position"]
    ) -> Float[Array, "batch position vocabulary"]:
        """Returns logits of the next token after every position.

        Args:
            tokens: integers below `vocabulary`.
        """
        embed = nn.Embed(self.vocabulary, self.width, name="token_embedding")
        x = embed(tokens)
        mask = causal_mask(tokens.shape[1])
        for i in range(self.depth):
            block = LlamaBlock(
                self.heads,
                self.key_heads,
                self.mlp_width,
                self.rotary_base,
                self.norm_epsilon,
                name=f"blocks_{i}",
            )
            x = block(x, mask)
        x = nn.RMSNorm(epsilon=self.norm_epsilon, name="norm")(x)
        if self.is_tied:
            with jax.named_scope("lm_head"):
                return jnp.einsum("...i,vi->...v", x, embed.embedding)
        return nn.Dense(self.vocabulary, use_bias=False, name="lm_head")(x)
