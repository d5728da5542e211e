"""Generators as priors: the zoo's, and what a generator must not be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp import models
from jaxinterp.featurevis.parametrizations.generator import generator
from tests.compiled import compiled

KEY = jax.random.key(0)


def identity(variables, latents):
    return latents


def test_outputs_are_brought_to_the_range_of_pictures():
    prior = generator(identity, {}, 3, output_range=(-2.0, 2.0), clip=None)
    images = prior.images(jnp.array([[-2.0, 0.0, 1.0], [-9.0, 2.0, 9.0]]))
    assert images.tolist() == [[0.0, 0.5, 0.75], [0.0, 1.0, 1.0]]


def test_each_latent_may_have_bounds_of_its_own():
    high = np.array([1.0, 2.0, 3.0], np.float32)
    prior = generator(
        identity, {}, 3, output_range=(-10.0, 10.0), clip=(-high, 2 * high)
    )
    images = prior.images(jnp.array([[9.0, 9.0, 9.0], [-9.0, -9.0, -9.0]], jnp.float32))
    np.testing.assert_allclose(20 * images - 10, [2 * high, -high], rtol=1e-5)
    with pytest.raises(ValueError, match="`clip` goes from low to high"):
        generator(identity, {}, 3, clip=(high, 2 - high))


@pytest.mark.parametrize(
    ("clip", "expected"),
    [
        (3.0, [-3, 0, 1, 3]),
        ((0.0, 30.0), [0, 0, 1, 30]),
        (None, [-40, 0, 1, 50]),
    ],
)
def test_latents_are_clipped_and_keep_their_gradient(clip, expected):
    prior = generator(identity, {}, 4, output_range=(-100.0, 100.0), clip=clip)
    latents = jnp.array([[-40.0, 0.0, 1.0, 50.0]])
    np.testing.assert_allclose(
        200 * prior.images(latents)[0] - 100, expected, atol=1e-4
    )
    gradient = jax.grad(lambda latents: prior.images(latents).sum())(latents)
    np.testing.assert_allclose(gradient, np.full((1, 4), 1 / 200), rtol=1e-6)


def test_latents_start_normal_and_within_bounds():
    latents = generator(identity, {}, (100,)).init(KEY, 50)
    assert latents.std() == pytest.approx(1, abs=0.03)
    assert abs(latents).max() <= 3
    small = generator(identity, {}, (100,), scale=0.1).init(KEY, 50)
    assert small.std() == pytest.approx(0.1, abs=0.003)
    positive = generator(identity, {}, (100,), clip=(0.0, 30.0)).init(KEY, 50)
    assert positive.min() == 0


def test_weights_are_not_closed_over():
    prior = generator(lambda gain, latents: gain * latents, 0.5 * jnp.ones(()), 3)
    doubled = jax.tree.map(lambda leaf: 2 * leaf, prior)
    latents = jnp.ones((1, 3))
    assert prior.images(latents).tolist() == [[0.75] * 3]
    assert doubled.images(latents).tolist() == [[1.0] * 3]


@pytest.mark.slow(reason="compiles two generators")
def test_a_dcgan_and_a_vae_of_the_zoo():
    dcgan = models.DCGANGenerator(size=8, channels=1, width=4)
    variables = compiled(dcgan.init)(KEY, jnp.ones((1, 5)))
    prior = generator(dcgan.apply, variables, 5)
    images = compiled(lambda key: prior.images(prior.init(key, 2)))(KEY)
    assert images.shape == (2, 8, 8, 1)

    vae = models.VAE(image_shape=(4, 5, 1), latent=2, widths=(8,))
    variables = compiled(vae.init)(KEY, jnp.ones((1, 4, 5, 1)))

    def decode(variables, latents):
        return jax.nn.sigmoid(vae.apply(variables, latents, method="decode"))

    prior = generator(decode, variables, 2, output_range=(0.0, 1.0))
    params = prior.init(KEY, 2)
    np.testing.assert_allclose(prior.images(params), decode(variables, params), 1e-6)


def test_the_trained_generator_of_digits(real_data):
    loaded = models.load(real_data / "mlp_gan_mnist.safetensors", model="mlp_gan_mnist")
    prior = generator(loaded.apply_fn, loaded.variables, 64)
    images = prior.images(prior.init(KEY, 8))
    assert images.shape == (8, 28, 28, 1)
    assert 0.05 < images.mean() < 0.3  # white strokes on black, as of MNIST
    assert ((images < 0.1) | (images > 0.9)).mean() > 0.7


@pytest.mark.parametrize(
    "apply_fn",
    [
        lambda variables, latents: (latents, latents),
        lambda variables, latents: {"images": latents},
        lambda variables, latents: latents[0],
    ],
)
def test_what_is_no_generator(apply_fn):
    with pytest.raises(
        ValueError, match=r"one array of images.*\(1, 3\).*this one gave"
    ):
        generator(apply_fn, {}, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clip": -1.0}, r"`clip` goes from low to high, and is \(1.0, -1.0\)"),
        ({"clip": (3.0, 1.0)}, r"`clip` goes from low to high, and is \(3.0, 1.0\)"),
        ({"output_range": (1.0, 1.0)}, "`output_range` goes from low to high"),
        ({"scale": -1.0}, "at least 0, and is -1.0"),
    ],
)
def test_intervals_that_are_none(options, message):
    with pytest.raises(ValueError, match=message):
        generator(identity, {}, 3, **options)
    with pytest.raises(TypeError, match="and was int32"):
        generator(identity, {}, 3, dtype=jnp.int32)
