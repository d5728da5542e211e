"""Transformers: for images, for language, and with its blocks stacked in a scan."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from .architecture import CLASSES, images, linen_architecture, sequences, tokens

VOCABULARY = 17


class FeedForward(nn.Module):
    """Dense, gelu, dense."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns as many features as it gets."""
        width = x.shape[-1]
        x = nn.gelu(nn.Dense(4 * width)(x))
        return nn.Dense(width)(x)


class EncoderBlock(nn.Module):
    """Layer norm before attention and before the MLP; Flax's own attention."""

    heads: int = 2

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns as many features as it gets."""
        y = nn.LayerNorm()(x)
        x = x + nn.MultiHeadDotProductAttention(self.heads, name="attention")(y)
        return x + FeedForward()(nn.LayerNorm()(x))


class VisionTransformer(nn.Module):
    """Patches, a class token, learned positions, encoder blocks.

    Attributes:
        patch: side of a patch.
        width: features of a token.
        depth: number of blocks.
        classes: number of logits.
    """

    patch: int = 8
    width: int = 16
    depth: int = 2
    classes: int = CLASSES

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the logits that the class token reads."""
        size = (self.patch, self.patch)
        x = nn.Conv(self.width, size, size, padding="VALID", name="patches")(x)
        x = x.reshape(x.shape[0], -1, self.width)
        normal = nn.initializers.normal(0.02)
        token = self.param("token", normal, (1, 1, self.width), jnp.float32)
        token = jnp.broadcast_to(token, (x.shape[0], 1, self.width))
        x = jnp.concatenate([token, x], axis=1)
        x = x + self.param("positions", normal, (1, *x.shape[1:]), jnp.float32)
        for _ in range(self.depth):
            x = EncoderBlock()(x)
        return nn.Dense(self.classes, name="head")(nn.LayerNorm()(x[:, 0]))


class CausalAttention(nn.Module):
    """Attention to earlier tokens only, written out."""

    heads: int = 2

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns as many features as it gets."""
        batch, length, width = x.shape
        split = nn.Dense(3 * width, name="read")(x)
        split = split.reshape(batch, length, 3, self.heads, width // self.heads)
        query, key, value = jnp.moveaxis(split, 2, 0)
        scores = jnp.einsum("bqhd,bkhd->bhqk", query, key)
        scores = scores / (width // self.heads) ** 0.5
        sees = jnp.tril(jnp.ones((1, 1, length, length), bool))
        scores = jnp.where(sees, scores, jnp.finfo(scores.dtype).min)
        mixed = jnp.einsum("bhqk,bkhd->bqhd", nn.softmax(scores), value)
        return nn.Dense(width, name="write")(mixed.reshape(x.shape))


class DecoderBlock(nn.Module):
    """Layer norm before causal attention and before the MLP."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns as many features as it gets."""
        x = x + CausalAttention(name="attention")(nn.LayerNorm()(x))
        return x + FeedForward()(nn.LayerNorm()(x))


class Decoder(nn.Module):
    """A language model; the embedding is also the unembedding, as in GPT-2.

    Attributes:
        vocabulary: number of tokens.
        width: features of a token.
        depth: number of blocks.
        max_length: number of learned positions.
        predicts_last: return the logits after the last token alone.
    """

    vocabulary: int = VOCABULARY
    width: int = 16
    depth: int = 2
    max_length: int = 12
    predicts_last: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns logits of the next token."""
        embed = nn.Embed(self.vocabulary, self.width, name="token_embedding")
        positions = nn.Embed(self.max_length, self.width, name="position_embedding")
        places = jnp.arange(x.shape[1], dtype=jnp.int32)[None]
        x = embed(x) + positions(places)
        for _ in range(self.depth):
            x = DecoderBlock()(x)
        logits = embed.attend(nn.LayerNorm()(x))
        return logits[:, -1] if self.predicts_last else logits


class _ScanBody(nn.Module):
    """An encoder block as the body of a scan."""

    @nn.compact
    def __call__(self, x: jax.Array, _: None) -> tuple[jax.Array, None]:
        """Returns the carry, and nothing to stack."""
        return EncoderBlock(name="block")(x), None


class ScannedTransformer(nn.Module):
    """Encoder blocks in one `nn.scan`, each rematerialized; a mean over tokens.

    Attributes:
        width: features of a token.
        depth: number of blocks.
        classes: number of logits.
    """

    width: int = 16
    depth: int = 3
    classes: int = CLASSES

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns logits."""
        x = nn.Dense(self.width, name="embedding")(x)
        stack = nn.scan(
            nn.remat(_ScanBody, prevent_cse=False),
            variable_axes={"params": 0},
            split_rngs={"params": True},
            length=self.depth,
        )
        x, _ = stack(name="stack")(x, None)
        return nn.Dense(self.classes, name="head")(nn.LayerNorm()(x.mean(1)))


TAGS = ("attention", "layer_norm", "residual")

ENTRIES = (
    linen_architecture(VisionTransformer(), "vit", images(32), *TAGS),
    linen_architecture(
        Decoder(),
        "decoder",
        tokens(8, VOCABULARY),
        *TAGS,
        "tokens",
        token_site_hint="*/token_embedding/*",
    ),
    linen_architecture(
        ScannedTransformer(), "scanned_transformer", sequences(6, 5), *TAGS, "scan"
    ),
)
