"""BERT: an encoder that sees both sides of a token, with a classifier on the first.

Norms stand after each sum, not before each layer. In the first block
`Bert/blocks_0/residual_mid` and `Bert/blocks_0/residual` are the sums, and
`Bert/blocks_0/attention_norm` and `Bert/blocks_0/mlp_norm` what is read of them. The
other addresses within blocks are those of `transformer.py`; after the last block come
`Bert/pooler` and `Bert/head`.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from jaxinterp.models.architectures.attention import Attention, Mask, Stream
from jaxinterp.models.architectures.mlp import FeedForward
from jaxinterp.models.architectures.norms import layer_norm


class PostNormBlock(nn.Module):
    """Adds attention, then an MLP, to the stream, and normalizes each sum.

    Attributes:
        heads: number of heads.
        mlp_width: neurons of the MLP.
        norm_epsilon: added to the variance by the norms.

    Example:
        >>> model, x = PostNormBlock(heads=2, mlp_width=8), jnp.ones((1, 3, 4))
        >>> init = model.init_with_output
        >>> outputs, _ = jax.eval_shape(init, jax.random.key(0), x)
        >>> outputs.shape
        (1, 3, 4)
    """

    heads: int
    mlp_width: int
    norm_epsilon: float = 1e-12

    @nn.compact
    def __call__(self, x: Stream, mask: Mask | None = None) -> Stream:
        """Returns the stream after the block."""
        attended = Attention(self.heads, name="attention")(x, mask)
        with jax.named_scope("residual_mid"):
            x = x + attended
        x = layer_norm(x, self.norm_epsilon, "attention_norm")
        change = FeedForward(self.mlp_width, name="mlp")(x)
        with jax.named_scope("residual"):
            x = x + change
        return layer_norm(x, self.norm_epsilon, "mlp_norm")


class Bert(nn.Module):
    """An encoder of one text or two, whose first token, `[CLS]`, is classified.

    The defaults are BERT-base uncased, of 109,482,240 parameters without a head.

    Attributes:
        classes: number of logits; without a head, `None`, the pooled features.
        vocabulary: number of tokens.
        width: features of a token.
        depth: number of blocks.
        heads: number of heads a block.
        mlp_width: neurons of each MLP; `4 * width` by default.
        max_length: number of learned positions.
        token_types: number of kinds of text: a question and its answer are two.
        pad_id: the token that only fills up a batch and is not to be seen; `None` if
            there is none.
        norm_epsilon: added to the variance by the norms.

    Example:
        >>> model = Bert(classes=2, vocabulary=11, width=8, depth=1, heads=2)
        >>> tokens = jnp.array([[3, 4, 5], [6, 7, 0]])
        >>> init = model.init_with_output
        >>> logits, _ = jax.eval_shape(init, jax.random.key(0), tokens)
        >>> logits.shape
        (2, 2)

    References:
        Devlin et al., 2019, section 3 [devlin2019bert].
    """

    classes: int | None = 2
    vocabulary: int = 30_522
    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp_width: int | None = None
    max_length: int = 512
    token_types: int = 2
    pad_id: int | None = 0
    norm_epsilon: float = 1e-12

    @nn.compact
    def __call__(
        self,
        tokens: Integer[Array, "batch position"],
        types: Integer[Array, "batch position"] | None = None,
        mask: Bool[Array, "batch position"] | None = None,
    ) -> Float[Array, "batch outputs"]:
        """Returns logits, or the pooled features of a model without a head.

        Args:
            tokens: integers below `vocabulary`.
            types: which text a token is of; all of the first by default.
            mask: true where a token is seen; by default, where it is not `pad_id`.

        Raises:
            ValueError: if there are more tokens than positions, or none.
        """
        length = tokens.shape[1]
        if length > self.max_length:
            raise ValueError(
                f"There are {length} tokens and {self.max_length} learned positions. "
                f"Shorten the text, or build `Bert(max_length={length})`."
            )
        if not length:
            raise ValueError(
                "There are 0 tokens, and the first one is classified. Give texts of at "
                "least one token, `[CLS]`."
            )
        if types is None:
            types = jnp.zeros_like(tokens)
        with jax.named_scope("mask"):
            if mask is None and self.pad_id is not None:
                mask = tokens != self.pad_id
            sees = None if mask is None else mask[:, None, None]
        embed = nn.Embed(self.vocabulary, self.width, name="token_embedding")
        positions = nn.Embed(self.max_length, self.width, name="position_embedding")
        kinds = nn.Embed(self.token_types, self.width, name="token_type_embedding")
        x = embed(tokens)
        context = positions(jnp.arange(length)[None]) + kinds(types)
        with jax.named_scope("residual"):
            x = x + context
        x = layer_norm(x, self.norm_epsilon, "norm")
        mlp_width = 4 * self.width if self.mlp_width is None else self.mlp_width
        for i in range(self.depth):
            block = PostNormBlock(
                self.heads, mlp_width, self.norm_epsilon, name=f"blocks_{i}"
            )
            x = block(x, sees)
        pooled = nn.tanh(nn.Dense(self.width, name="pooler")(x[:, 0]))
        if self.classes is None:
            return pooled
        return nn.Dense(self.classes, name="head")(pooled)
