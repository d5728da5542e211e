"""BERT: an encoder of tokens without a causal mask, and a classifier of the first.

Norms come after each sum, not before each layer. In the first block
`Bert/blocks_0/residual_mid` and `Bert/blocks_0/residual` are the sums, and
`Bert/blocks_0/attention_norm` and `Bert/blocks_0/mlp_norm` normalize them. The
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
        heads: how many heads the attention has.
        mlp_width: how many neurons the MLP has.
        norm_epsilon: the number that the norms add to the variance.

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
        attention_output = Attention(self.heads, name="attention")(x, mask)
        with jax.named_scope("residual_mid"):
            x = x + attention_output
        x = layer_norm(x, self.norm_epsilon, "attention_norm")
        change = FeedForward(self.mlp_width, name="mlp")(x)
        with jax.named_scope("residual"):
            x = x + change
        return layer_norm(x, self.norm_epsilon, "mlp_norm")


class Bert(nn.Module):
    """An encoder of one text or two, whose first token, `[CLS]`, is classified.

    The defaults are BERT-base uncased, of 109,482,240 parameters without a head.

    Attributes:
        classes: how many classes, and so logits, there are; with `None` the model has
            no head and returns the pooled features.
        vocabulary: how many different tokens there are.
        width: how many features a token has.
        depth: how many blocks the model has.
        heads: how many heads each attention has.
        mlp_width: how many neurons each MLP has; `4 * width` by default.
        max_length: how many positions are learned.
        token_types: how many kinds of text there are, such as question and answer.
        pad_id: the token that only pads texts of a batch, and that no other token
            attends to; `None` if there is no padding.
        norm_epsilon: the number that the norms add to the variance.

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
            types: the kind of text that each token belongs to; 0 by default.
            mask: whether others attend to each token; by default, whether it is not
                `pad_id`.

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
            key_mask = None if mask is None else mask[:, None, None]
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
            x = block(x, key_mask)
        pooled = nn.tanh(nn.Dense(self.width, name="pooler")(x[:, 0]))
        if self.classes is None:
            return pooled
        return nn.Dense(self.classes, name="head")(pooled)
