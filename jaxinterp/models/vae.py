r"""A variational autoencoder: images as points of a latent space, and back.

$$q(z \mid x) = \mathcal{N}(\mu(x), \sigma^2(x)), \qquad
  p(x \mid z) = \mathrm{Bernoulli}(\mathrm{sigmoid}(\ell(z)))$$
"""

from __future__ import annotations

import math
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


class Gaussian(NamedTuple):
    r"""The posterior of a latent, independent normal variables.

    Attributes:
        mean: $\mu$.
        log_variance: $\log \sigma^2$.

    Example:
        >>> Gaussian(jnp.zeros((1, 2)), jnp.zeros((1, 2))).mean.shape
        (1, 2)
    """

    mean: Float[Array, "batch latent"]
    log_variance: Float[Array, "batch latent"]


class Reconstruction(NamedTuple):
    """What a VAE makes of a batch.

    Attributes:
        logits: of the pixels.
        posterior: of the latents.

    Example:
        >>> logits = jnp.zeros((1, 2, 2, 1))
        >>> Reconstruction(logits, Gaussian(logits, logits)).logits.shape
        (1, 2, 2, 1)
    """

    logits: Float[Array, "batch height width channels"]
    posterior: Gaussian


class VAE(nn.Module):
    """Encodes images to a normal posterior, decodes latents to logits of pixels.

    Either half is explained by itself with `method="encode"` or `method="decode"`.

    Attributes:
        image_shape: height, width and channels of the images.
        latent: number of latent variables.
        widths: features of the encoder's hidden layers; the decoder has them reversed.

    Example:
        >>> model = VAE(image_shape=(4, 4, 1), latent=2, widths=(8,))
        >>> images = jnp.ones((3, 4, 4, 1))
        >>> variables = model.init(jax.random.key(0), images)
        >>> model.apply(variables, images, method="encode").mean.shape
        (3, 2)

    References:
        Kingma and Welling, 2014, section 3 and appendix C [kingma2014auto].
    """

    image_shape: tuple[int, int, int] = (28, 28, 1)
    latent: int = 16
    widths: tuple[int, ...] = (256, 256)

    def setup(self) -> None:
        """Makes the layers of both halves."""
        self.encoder = [nn.Dense(width) for width in self.widths]
        self.decoder = [nn.Dense(width) for width in reversed(self.widths)]
        self.mean = nn.Dense(self.latent)
        self.log_variance = nn.Dense(self.latent)
        self.pixels = nn.Dense(math.prod(self.image_shape))

    def __call__(
        self,
        images: Float[Array, "batch height width channels"],
        key: Key[Array, ""] | None = None,
    ) -> Reconstruction:
        """Returns the reconstruction from a latent drawn of the posterior.

        Args:
            images: with pixels in [0, 1].
            key: of the draw; without it the latent is the posterior's mean.
        """
        posterior = self.encode(images)
        latents = posterior.mean
        if key is not None:
            noise = jax.random.normal(key, latents.shape, latents.dtype)
            latents = latents + jnp.exp(posterior.log_variance / 2) * noise
        return Reconstruction(self.decode(latents), posterior)

    def encode(self, images: Float[Array, "batch height width channels"]) -> Gaussian:
        """Returns the posterior of the latents.

        Args:
            images: with pixels in [0, 1].

        Raises:
            ValueError: if the images are of another shape.
        """
        if images.shape[1:] != self.image_shape:
            raise ValueError(
                f"Images are {images.shape[1:]}, and the model takes "
                f"{self.image_shape}. Resize them, or give `image_shape`."
            )
        x = images.reshape(images.shape[0], -1)
        for layer in self.encoder:
            x = nn.relu(layer(x))
        return Gaussian(self.mean(x), self.log_variance(x))

    def decode(
        self, latents: Float[Array, "batch latent"]
    ) -> Float[Array, "batch height width channels"]:
        """Returns logits of pixels; their sigmoid is the image.

        Args:
            latents: standard normal by the prior.
        """
        x = latents
        for layer in self.decoder:
            x = nn.relu(layer(x))
        return self.pixels(x).reshape(x.shape[0], *self.image_shape)
