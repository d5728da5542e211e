"""The vision transformer: an image is a sequence of patches.

Position 0 is the class token, position `1 + row * columns + column` a patch. Patches
become features at `ViT/patch_embedding`; `ViT/residual` is the sum with the positions,
and `ViT/head` reads `ViT/norm`. The addresses within blocks are those of
`transformer.py`: `ViT/blocks_0/attention`, `ViT/blocks_0/residual`.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxinterp.models.architectures.norms import layer_norm
from jaxinterp.models.architectures.transformer import PreNormBlock


class ViT(nn.Module):
    """Patches, a class token, learned positions, blocks, logits of the class token.

    The defaults are ViT-B/16 on ImageNet, of 86,567,656 parameters.

    Attributes:
        image_size: height and width of the images.
        patch_size: height and width of a patch.
        width: how many features a token has.
        depth: how many blocks the model has.
        heads: how many heads each attention has.
        mlp_width: how many neurons each MLP has; `4 * width` by default.
        classes: how many classes, and so logits, there are.
        norm_epsilon: the number that the norms add to the variance; `1e-6` in timm,
            `1e-12` in the checkpoints of Hugging Face.

    Example:
        >>> model = ViT(image_size=8, patch_size=4, width=8, heads=2, classes=3)
        >>> images = jnp.zeros((2, 8, 8, 3))
        >>> init = model.init_with_output
        >>> logits, _ = jax.eval_shape(init, jax.random.key(0), images)
        >>> logits.shape
        (2, 3)

    References:
        Dosovitskiy et al., 2021, section 3.1 [dosovitskiy2021image].
    """

    image_size: int = 224
    patch_size: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp_width: int | None = None
    classes: int = 1000
    norm_epsilon: float = 1e-6

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch classes"]:
        """Returns logits.

        Args:
            images: images of `image_size` x `image_size` pixels.

        Raises:
            ValueError: if the images are of another size, or patches do not tile them.
        """
        size = self.image_size
        if images.shape[1:3] != (size, size) or size % self.patch_size:
            raise ValueError(
                f"Images are {images.shape[1]} x {images.shape[2]}, and the model "
                f"takes {size} x {size} in patches of {self.patch_size}. "
                "Resize the images, or give `image_size` and a `patch_size` that "
                "divides it."
            )
        patch = (self.patch_size, self.patch_size)
        embed = nn.Conv(self.width, patch, patch, "VALID", name="patch_embedding")
        x = embed(images)
        x = jax.lax.collapse(x, 1, 3)
        normal = nn.initializers.normal(0.02)
        token = self.param("class_token", normal, (1, 1, self.width), jnp.float32)
        shape = (1, 1 + x.shape[1], self.width)
        positions = self.param("position_embedding", normal, shape, jnp.float32)
        token = jnp.broadcast_to(token, (x.shape[0], 1, self.width))
        x = jnp.concatenate([token.astype(x.dtype), x], axis=1)
        with jax.named_scope("residual"):
            x = x + positions
        mlp_width = 4 * self.width if self.mlp_width is None else self.mlp_width
        for i in range(self.depth):
            block = PreNormBlock(
                self.heads,
                mlp_width,
                norm_epsilon=self.norm_epsilon,
                name=f"blocks_{i}",
            )
            x = block(x)
        x = layer_norm(x, self.norm_epsilon, "norm")
        return nn.Dense(self.classes, name="head")(x[:, 0])
