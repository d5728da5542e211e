r"""A variational autoencoder: images as points of a latent space, and back.

$$q(z \mid x) = \mathcal{N}(\mu(x), \sigma^2(x)), \qquad
  p(x \mid z) = \mathrm{Bernoulli}(\mathrm{sigmoid}(\ell(z)))$$

Each half is a module: `VAE/encoder/layers_0`, `VAE/encoder/mean` and
`VAE/encoder/log_variance` belong to the first, `VAE/decoder/layers_0` and
`VAE/decoder/pixels` to the second.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxinterp.models.architectures.mlp import hidden_layers


class Gaussian(NamedTuple):
    r"""The posterior of the latents, independent normal variables.

    Attributes:
        mean: $\mu$, the mean of each latent variable.
        log_variance: $\log \sigma^2$, the logarithm of the variance of each.

    Example:
        >>> Gaussian(jnp.zeros((1, 2)), jnp.zeros((1, 2))).mean.shape
        (1, 2)
    """

    mean: Float[Array, "batch latent"]
    log_variance: Float[Array, "batch latent"]


class Reconstruction(NamedTuple):
    """The output of a VAE.

    Attributes:
        logits: the logits of the pixels; their sigmoid is the image.
        posterior: the posterior of the latents.

    Example:
        >>> logits = jnp.zeros((1, 2, 2, 1))
        >>> Reconstruction(logits, Gaussian(logits, logits)).logits.shape
        (1, 2, 2, 1)
    """

    logits: Float[Array, "batch height width channels"]
    posterior: Gaussian


class Encoder(nn.Module):
    """Dense layers from an image to the posterior of its latents.

    Attributes:
        latent: how many latent variables there are.
        widths: how many features each hidden layer has.

    Example:
        >>> model, images = Encoder(latent=2, widths=(8,)), jnp.ones((3, 4, 4, 1))
        >>> init = model.init_with_output
        >>> posterior, _ = jax.eval_shape(init, jax.random.key(0), images)
        >>> posterior.mean.shape
        (3, 2)
    """

    latent: int
    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, images: Float[Array, "batch height width channels"]) -> Gaussian:
        """Returns the posterior."""
        x = hidden_layers(jax.lax.collapse(images, 1), self.widths)
        mean = nn.Dense(self.latent, name="mean")(x)
        return Gaussian(mean, nn.Dense(self.latent, name="log_variance")(x))


class Decoder(nn.Module):
    """Dense layers from latents to the logits of an image's pixels.

    Attributes:
        image_shape: height, width and channels of the image.
        widths: how many features each hidden layer has.

    Example:
        >>> model, latents = Decoder((4, 4, 1), widths=(8,)), jnp.ones((3, 2))
        >>> init = model.init_with_output
        >>> logits, _ = jax.eval_shape(init, jax.random.key(0), latents)
        >>> logits.shape
        (3, 4, 4, 1)
    """

    image_shape: tuple[int, int, int]
    widths: tuple[int, ...]

    @nn.compact
    def __call__(
        self, latents: Float[Array, "batch latent"]
    ) -> Float[Array, "batch height width channels"]:
        """Returns the logits."""
        x = hidden_layers(latents, self.widths)
        x = nn.Dense(math.prod(self.image_shape), name="pixels")(x)
        return x.reshape(x.shape[0], *self.image_shape)


class VAE(nn.Module):
    """Encodes images to a normal posterior, decodes latents to logits of pixels.

    Each half is explained by itself with `method="encode"` or `method="decode"`; the
    addresses then begin with the method, `VAE.encode/encoder/mean`.

    Attributes:
        image_shape: height, width and channels of the images.
        latent: how many latent variables there are.
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
        """Creates the encoder and the decoder."""
        self.encoder = Encoder(self.latent, self.widths)
        self.decoder = Decoder(self.image_shape, self.widths[::-1])

    def __call__(
        self,
        images: Float[Array, "batch height width channels"],
        key: Key[Array, ""] | None = None,
    ) -> Reconstruction:
        """Returns the reconstruction from latents drawn from the posterior.

        Args:
            images: images with pixels in [0, 1].
            key: the random key of the latents; without it they are the mean of the
                posterior.

        Raises:
            ValueError: if the shape of the images is not `image_shape`.
        """
        self._check(images)
        # Not by the methods below, whose names would be part of every address.
        posterior = self.encoder(images)
        latents = posterior.mean
        if key is not None:
            noise = jax.random.normal(key, latents.shape, latents.dtype)
            latents = latents + jnp.exp(posterior.log_variance / 2) * noise
        return Reconstruction(self.decoder(latents), posterior)

    def encode(self, images: Float[Array, "batch height width channels"]) -> Gaussian:
        """Returns the posterior of the latents.

        Args:
            images: images with pixels in [0, 1].

        Raises:
            ValueError: if the shape of the images is not `image_shape`.
        """
        self._check(images)
        return self.encoder(images)

    def decode(
        self, latents: Float[Array, "batch latent"]
    ) -> Float[Array, "batch height width channels"]:
        """Returns logits of pixels; their sigmoid is the image.

        Args:
            latents: latent variables, standard normal under the prior.
        """
        return self.decoder(latents)

    @nn.nowrap
    def _check(self, images: Float[Array, "batch height width channels"]) -> None:
        """Raises `ValueError` if the shape of the images is not `image_shape`."""
        if images.shape[1:] != self.image_shape:
            raise ValueError(
                f"Images are {images.shape[1:]}, and the model takes "
                f"{self.image_shape}. Resize them, or give `image_shape`."
            )
