"""Generators, discriminator, autoencoder and plain MLP."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.models.architectures.dcgan import DCGANDiscriminator, DCGANGenerator
from jaxinterp.models.architectures.mlp import ACTIVATIONS, MLP, gelu
from jaxinterp.models.architectures.vae import VAE
from jaxinterp.objectives import total
from tests.compiled import compiled
from tests.networks.families import FAMILIES, built
from tests.networks.random_variables import random_variables

LATENTS = FAMILIES["generator"].inputs
DISCRIMINATOR = FAMILIES["discriminator"].model
AUTOENCODER, _, IMAGES = built("vae")


# --- DCGAN ----------------------------------------------------------------------------


def test_generators_draw_between_minus_one_and_one():
    for name in ("generator", "mlp_generator"):
        model, variables, latents = built(name)
        images = compiled(model.apply)(variables, 10 * latents)
        assert np.abs(images).max() <= 1
        assert images.min() < -0.5 < 0.5 < images.max()


def test_the_papers_generator_and_discriminator_halve_and_double():
    kernels = jax.eval_shape(
        DCGANGenerator().init, jax.random.key(0), jnp.ones((1, 100))
    )
    widths = [kernels["params"][f"up_{i}"]["kernel"].shape[-1] for i in range(1, 5)]
    assert kernels["params"]["project"]["kernel"].shape == (100, 4 * 4 * 1024)
    assert widths == [512, 256, 128, 3]
    images = jnp.ones((1, 64, 64, 3))
    kernels = jax.eval_shape(DCGANDiscriminator().init, jax.random.key(0), images)
    widths = [kernels["params"][f"down_{i}"]["kernel"].shape[-1] for i in range(4)]
    assert widths == [128, 256, 512, 1024]


@pytest.mark.parametrize("name", ["generator", "discriminator"])
def test_only_training_looks_at_the_batch(name):
    model, variables, inputs = built(name)
    alone = compiled(model.apply)(variables, inputs[:1])
    both = compiled(model.apply)(variables, inputs)
    np.testing.assert_allclose(both[:1], alone, rtol=1e-4, atol=1e-6)
    train = functools.partial(model.apply, train=True, mutable=["batch_stats"])
    trained, changed = compiled(train)(variables, inputs)
    assert np.abs(trained - both).max() > 1e-2
    old, new = variables["batch_stats"]["bn_1"], changed["batch_stats"]["bn_1"]
    assert np.abs(old["mean"] - new["mean"]).max() > 1e-4


@pytest.mark.parametrize("size", [4, 12, 63, 65])
def test_a_size_that_no_doubling_reaches_is_refused(size):
    with pytest.raises(ValueError, match=rf"8, 16, 32, \.\.\. and is {size}"):
        jax.eval_shape(DCGANGenerator(size=size).init, jax.random.key(0), LATENTS)
    images = jnp.ones((1, size, size, 3))
    with pytest.raises(ValueError, match=rf"8, 16, 32, \.\.\. and is {size}"):
        jax.eval_shape(DISCRIMINATOR.init, jax.random.key(0), images)


def test_oblong_images_are_refused():
    with pytest.raises(ValueError, match=r"square, and are \(8, 16\)"):
        jax.eval_shape(DISCRIMINATOR.init, jax.random.key(0), jnp.ones((1, 8, 16, 3)))


# --- VAE ------------------------------------------------------------------------------


def test_the_autoencoder_decodes_the_mean_or_a_draw_around_it():
    variables = random_variables(AUTOENCODER, IMAGES)
    posterior = AUTOENCODER.apply(variables, IMAGES, method="encode")
    logits, same = AUTOENCODER.apply(variables, IMAGES)
    np.testing.assert_array_equal(same.mean, posterior.mean)
    decoded = AUTOENCODER.apply(variables, posterior.mean, method="decode")
    np.testing.assert_allclose(logits, decoded, rtol=1e-6)
    assert logits.shape == IMAGES.shape
    first, again, other = (
        AUTOENCODER.apply(variables, IMAGES, jax.random.key(seed)).logits
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


def test_draws_have_the_mean_and_the_variance_of_the_posterior():
    """The decoder is made the identity, so that its logits are the latents."""
    model = VAE(image_shape=(1, 1, 2), latent=2, widths=())
    variables = random_variables(model, jnp.ones((1, 1, 1, 2)))
    variables["params"]["decoder"]["pixels"] = {
        "kernel": jnp.eye(2),
        "bias": jnp.zeros(2),
    }
    images = jnp.broadcast_to(jnp.array([0.3, 0.9], jnp.float32), (20_000, 1, 1, 2))
    logits, posterior = compiled(model.apply)(variables, images, jax.random.key(0))
    draws = logits.reshape(-1, 2)
    # Four standard errors: s / sqrt(n) of the mean, sqrt(2 / n) of the log-variance.
    deviation = np.exp(posterior.log_variance[0] / 2)
    error = np.abs(draws.mean(axis=0) - posterior.mean[0]) / deviation
    assert error.max() < 4 / np.sqrt(20_000)
    error = np.abs(np.log(draws.var(axis=0)) - posterior.log_variance[0])
    assert error.max() < 4 * np.sqrt(2 / 20_000)


@pytest.mark.parametrize("method", ["encode", "decode"])
def test_either_half_is_explained_by_itself(method):
    variables = random_variables(AUTOENCODER, IMAGES)
    apply_fn, variables = ji.models.from_linen(AUTOENCODER, variables, method=method)
    inputs = IMAGES if method == "encode" else LATENTS

    def mean(variables, inputs):
        outputs = apply_fn(variables, inputs)
        return outputs.mean if method == "encode" else outputs

    plan = ji.plan(mean, ji.rules.epsilon_plus(), variables, inputs)
    assert plan.coverage == 1, f"\n{plan}"
    received = ji.attribution.lrp(mean, score=total)(variables, inputs)
    assert received.shape == inputs.shape
    assert np.isfinite(received).all()


def test_images_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(8, 8, 3\), and the model takes \(16, 16"):
        jax.eval_shape(AUTOENCODER.init, jax.random.key(0), jnp.ones((1, 8, 8, 3)))


# --- MLP ------------------------------------------------------------------------------

FORMULAS = {
    "relu": lambda z: np.maximum(z, 0),
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "silu": lambda z: z / (1 + np.exp(-z)),
    "softplus": lambda z: np.log(1 + np.exp(z)),
    "gelu": lambda z: (
        z * np.vectorize(lambda t: 0.5 * (1 + math.erf(t)))(z / np.sqrt(2))
    ),
    "gelu_tanh": lambda z: (
        0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))
    ),
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_mlp_is_what_numpy_computes(activation):
    model = MLP(outputs=3, widths=(4, 6), activation=activation)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5)))
    variables = random_variables(model, x, dtype=np.float64)
    params = jax.tree.map(np.asarray, variables["params"])
    expected = np.asarray(x)
    for i in range(3):
        layer = params[f"layers_{i}"]
        expected = expected @ layer["kernel"] + layer["bias"]
        if i < 2:
            expected = FORMULAS[activation](expected)
    np.testing.assert_allclose(model.apply(variables, x), expected, rtol=1e-9)


def test_an_unknown_activation_is_an_error_that_lists_all():
    with pytest.raises(ValueError, match=r"'swish'\. There are: gelu, gelu_tanh"):
        MLP(outputs=1, activation="swish").init(jax.random.key(0), jnp.ones((1, 2)))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64])
def test_gelu_is_that_of_jax_without_its_copy(dtype):
    x = jnp.linspace(-6, 6, 101).astype(dtype)
    ours, theirs = gelu(x), jax.nn.gelu(x, approximate=False)
    assert ours.dtype == dtype
    tolerance = 4 * float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(
        np.asarray(ours, float), np.asarray(theirs, float), rtol=tolerance, atol=1e-7
    )
    primitives = {eqn.primitive for eqn in jax.make_jaxpr(gelu)(x).eqns}
    assert jax.extend.core.primitives.copy_p not in primitives
