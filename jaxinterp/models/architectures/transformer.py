"""The decoder of GPT-2, and the small transformers of the literature on circuits.

The sum that all blocks read from and write to is the *residual stream*. Its states are
sites: `Transformer/residual` after the embedding, `Transformer/blocks_0/residual_mid`
after the attention of the first block, `Transformer/blocks_0/residual` after its MLP.
`Transformer/blocks_0/attention` and `Transformer/blocks_0/mlp` are what the block adds.
The tokens' vectors are `Transformer/token_embedding`, the logits `Transformer/lm_head`.
Every address begins with the class of the model, which a selector may omit:
`"blocks_0/residual"` is the same site.
"""

from __future__ import annotations

from typing import Literal

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
from jaxinterp.models.architectures.mlp import FeedForward
from jaxinterp.models.architectures.norms import layer_norm


class PreNormBlock(nn.Module):
    """Adds attention, then an MLP, to the stream; each reads it normalized.

    Attributes:
        heads: how many heads the attention has.
        mlp_width: how many neurons the MLP has; with `None` the block has attention
            alone.
        activation: the name of the activation of the MLP, see `ACTIVATIONS`.
        head_width: how many features a head has; `width // heads` by default.
        use_norm: whether there are layer norms.
        use_bias: whether dense layers and norms add a bias.
        norm_epsilon: the number that the norms add to the variance.

    Example:
        >>> model, x = PreNormBlock(heads=2, mlp_width=8), jnp.ones((1, 3, 4))
        >>> init = model.init_with_output
        >>> outputs, _ = jax.eval_shape(init, jax.random.key(0), x)
        >>> outputs.shape
        (1, 3, 4)
    """

    heads: int
    mlp_width: int | None
    activation: str = "gelu"
    head_width: int | None = None
    use_norm: bool = True
    use_bias: bool = True
    norm_epsilon: float = 1e-6

    @nn.compact
    def __call__(self, x: Stream, mask: Mask | None = None) -> Stream:
        """Returns the stream after the block."""

        def norm(stream: Stream, name: str) -> Stream:
            if not self.use_norm:
                return stream
            return layer_norm(stream, self.norm_epsilon, name, self.use_bias)

        attention = Attention(
            self.heads, self.head_width, use_bias=self.use_bias, name="attention"
        )
        attention_output = attention(norm(x, "attention_norm"), mask)
        if self.mlp_width is None:
            with jax.named_scope("residual"):
                return x + attention_output
        with jax.named_scope("residual_mid"):
            x = x + attention_output
        mlp = FeedForward(self.mlp_width, self.activation, self.use_bias, name="mlp")
        change = mlp(norm(x, "mlp_norm"))
        with jax.named_scope("residual"):
            return x + change


class Transformer(nn.Module):
    """A decoder of tokens: learned positions, causal attention, logits of a vocabulary.

    The defaults are GPT-2 small, of 124,439,808 parameters. `attention_only=True` is
    the transformer in which induction heads were found; `use_norm=False, activation=
    "relu", is_tied=False, reads="last"` that of modular addition.

    Attributes:
        vocabulary: how many different tokens there are.
        width: how many features the residual stream has.
        depth: how many blocks the model has.
        heads: how many heads each attention has.
        max_length: how many positions are learned.
        mlp_width: how many neurons each MLP has; `4 * width` by default.
        head_width: how many features a head has; `width // heads` by default.
        activation: the name of the activation of the MLPs, see `ACTIVATIONS`.
        attention_only: whether blocks have no MLP.
        use_norm: whether there are layer norms, in the blocks and before the logits.
        use_bias: whether dense layers and norms add a bias.
        is_tied: whether the embedding is also the unembedding.
        classes: for a classifier, how many classes there are; `None` for a language
            model.
        reads: which positions have logits: `"every"` one, the `"last"`, or the
            `"mean"` of all.
        norm_epsilon: the number that the norms add to the variance.

    Example:
        >>> model = Transformer(vocabulary=11, width=8, depth=1, heads=2, max_length=6)
        >>> tokens = jnp.zeros((2, 5), int)
        >>> init = model.init_with_output
        >>> logits, _ = jax.eval_shape(init, jax.random.key(0), tokens)
        >>> logits.shape
        (2, 5, 11)

    References:
        Radford et al., 2019, section 2.3 [radford2019language].
        Elhage et al., 2021 [elhage2021mathematical].
    """

    vocabulary: int = 50_257
    width: int = 768
    depth: int = 12
    heads: int = 12
    max_length: int = 1024
    mlp_width: int | None = None
    head_width: int | None = None
    activation: str = "gelu_tanh"
    attention_only: bool = False
    use_norm: bool = True
    use_bias: bool = True
    is_tied: bool = True
    classes: int | None = None
    reads: Literal["every", "last", "mean"] = "every"
    norm_epsilon: float = 1e-5

    @nn.compact
    def __call__(
        self, tokens: Integer[Array, "batch position"]
    ) -> Float[Array, "batch position logits"] | Float[Array, "batch logits"]:
        """Returns logits of the next token, or of the classes.

        Args:
            tokens: integers below `vocabulary`.

        Raises:
            ValueError: if there are more tokens than positions, or none to read; if
                there are `classes` and `is_tied`; or if `reads` has another value.
        """
        self._check(tokens.shape[1])
        embed = nn.Embed(self.vocabulary, self.width, name="token_embedding")
        positions = nn.Embed(self.max_length, self.width, name="position_embedding")
        x = embed(tokens)
        position = positions(jnp.arange(tokens.shape[1])[None])
        with jax.named_scope("residual"):
            x = x + position
        mask = causal_mask(tokens.shape[1])
        for i in range(self.depth):
            x = self._block(f"blocks_{i}")(x, mask)
        if self.use_norm:
            x = layer_norm(x, self.norm_epsilon, "norm", self.use_bias)
        if self.reads == "last":
            x = x[:, -1]
        elif self.reads == "mean":
            x = x.mean(axis=1)
        if self.classes is not None:
            return nn.Dense(self.classes, use_bias=self.use_bias, name="head")(x)
        if self.is_tied:
            with jax.named_scope("lm_head"):
                return jnp.einsum("...i,vi->...v", x, embed.embedding)
        return nn.Dense(self.vocabulary, use_bias=False, name="lm_head")(x)

    def _block(self, name: str) -> PreNormBlock:
        mlp_width = 4 * self.width if self.mlp_width is None else self.mlp_width
        return PreNormBlock(
            self.heads,
            None if self.attention_only else mlp_width,
            self.activation,
            self.head_width,
            self.use_norm,
            self.use_bias,
            self.norm_epsilon,
            name=name,
        )

    def _check(self, length: int) -> None:
        if length > self.max_length:
            raise ValueError(
                f"There are {length} tokens and {self.max_length} learned positions. "
                f"Shorten the text, or build `Transformer(max_length={length})`."
            )
        if not length and self.reads != "every":
            raise ValueError(
                f"With `reads={self.reads!r}` there must be a position to read, and "
                "there are 0 tokens. Give texts of at least one token."
            )
        if self.classes is not None and self.is_tied:
            raise ValueError(
                "The logits of a classifier cannot be tied to the embedding of tokens. "
                f"Write `Transformer(classes={self.classes}, is_tied=False)`."
            )
        if self.reads not in ("every", "last", "mean"):
            raise ValueError(
                f"`reads` is 'every', 'last' or 'mean', and not {self.reads!r}."
            )
