"""The decoder transformer, in the manner of GPT-2, and the small ones of circuits.

The sum that all blocks read from and write to is the *residual stream*. Its states are
sites: `residual` after the embedding, `blocks_0/residual_mid` after the attention of
the first block, `blocks_0/residual` after its MLP. `blocks_0/attention` and
`blocks_0/mlp` are what the block adds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from jaxinterp.models.attention import Attention, causal_mask
from jaxinterp.models.mlp import FeedForward


class PreNormBlock(nn.Module):
    """Adds attention, then an MLP, to the stream; each reads it through a norm.

    Attributes:
        heads: number of heads.
        mlp_width: neurons of the MLP; `None` is a block with attention alone.
        activation: name of the MLP's activation.
        head_width: features of a head; `width // heads` by default.
        use_norm: whether there are layer norms.
        use_bias: whether dense layers and norms add a bias.
        norm_epsilon: added to the variance by the norms.

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
    def __call__(
        self,
        x: Float[Array, "batch position width"],
        mask: Bool[Array, "_ 1 _ position"] | None = None,
    ) -> Float[Array, "batch position width"]:
        """Returns the stream after the block.

        Args:
            x: the stream before it.
            mask: true where a query may see a key.
        """

        def norm(name: str) -> Callable[[Array], Array]:
            if not self.use_norm:
                return lambda stream: stream
            return layer_norm(name, self.norm_epsilon, self.use_bias)

        attention = Attention(
            self.heads, self.head_width, use_bias=self.use_bias, name="attention"
        )
        attended = attention(norm("attention_norm")(x), mask)
        if self.mlp_width is None:
            with jax.named_scope("residual"):
                return x + attended
        with jax.named_scope("residual_mid"):
            x = x + attended
        mlp = FeedForward(self.mlp_width, self.activation, self.use_bias, name="mlp")
        change = mlp(norm("mlp_norm")(x))
        with jax.named_scope("residual"):
            return x + change


def layer_norm(name: str, epsilon: float, use_bias: bool = True) -> nn.LayerNorm:
    """Returns a layer norm that computes the variance as the checkpoints' code does.

    Args:
        name: of the module.
        epsilon: added to the variance.
        use_bias: whether it adds a bias.

    Example:
        >>> layer_norm("norm", 1e-5).epsilon
        1e-05
    """
    # The fast variance, E[x^2] - E[x]^2, cancels where a stream has a large mean.
    return nn.LayerNorm(
        epsilon=epsilon, use_bias=use_bias, use_fast_variance=False, name=name
    )


class Transformer(nn.Module):
    """A decoder of tokens: learned positions, causal attention, logits of a vocabulary.

    The defaults are GPT-2 small, of 124,439,808 parameters. `attention_only=True` is
    the transformer in which induction heads were found; `use_norm=False, activation=
    "relu", is_tied=False, reads="last"` that of modular addition.

    Attributes:
        vocabulary: number of tokens.
        width: features of the residual stream.
        depth: number of blocks.
        heads: number of heads a block.
        max_length: number of learned positions.
        mlp_width: neurons of each MLP; `4 * width` by default.
        head_width: features of a head; `width // heads` by default.
        activation: name of the MLPs' activation.
        attention_only: whether blocks have no MLP.
        use_norm: whether there are layer norms, in the blocks and before the logits.
        use_bias: whether dense layers and norms add a bias.
        is_tied: whether the embedding is also the unembedding.
        classes: number of logits of a classifier; a language model by default.
        reads: the positions that have logits: every one, the last, or the mean of all.
        norm_epsilon: added to the variance by the norms.

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
            ValueError: if there are more tokens than positions, if a classifier is to
                be tied to the embedding, or if `reads` is none of its three words.
        """
        self._check(tokens.shape[1])
        embed = nn.Embed(self.vocabulary, self.width, name="token_embedding")
        positions = nn.Embed(self.max_length, self.width, name="position_embedding")
        x, places = embed(tokens), positions(jnp.arange(tokens.shape[1])[None])
        with jax.named_scope("residual"):
            x = x + places
        mask = causal_mask(tokens.shape[1])
        for i in range(self.depth):
            x = self._block(f"blocks_{i}")(x, mask)
        if self.use_norm:
            x = layer_norm("norm", self.norm_epsilon, self.use_bias)(x)
        if self.reads == "last":
            x = x[:, -1]
        elif self.reads == "mean":
            x = x.mean(axis=1)
        if self.classes is not None:
            return nn.Dense(self.classes, use_bias=self.use_bias, name="head")(x)
        if self.is_tied:
            with jax.named_scope("lm_head"):
                return x @ embed.embedding.T
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
        if self.classes is not None and self.is_tied:
            raise ValueError(
                "The logits of a classifier cannot be tied to the embedding of tokens. "
                f"Write `Transformer(classes={self.classes}, is_tied=False)`."
            )
        if self.reads not in ("every", "last", "mean"):
            raise ValueError(
                f"`reads` is 'every', 'last' or 'mean', and not {self.reads!r}."
            )
