"""The information bottleneck, by a literal Adam in NumPy, and on a planted object."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.attribution import information_bottleneck
from jaxinterp.keys import each_folded, folded, steady
from tests.compiled import compiled
from tests.networks import functions as models

KEY = jax.random.key(4)
IMAGES = models.normal(70, 2, 3, 4, 2)
WEIGHTS = models.normal(71, 24, 3)
BACKGROUND = np.tanh(models.normal(72, 7, 3, 4, 2))
TARGET = np.array([2, 0])


def linear(weights, x):
    """A score that is linear from the site "tanh" on."""
    return jnp.tanh(x).reshape(len(x), -1) @ weights


def bells(sigma):
    """The matrices of a blur along the rows and the columns of a site."""
    both = []
    for size in (3, 4):
        place = np.arange(size)
        distance = place[:, None] - place[None]
        bell = np.exp(-(distance**2) / (2 * sigma**2)) if sigma else np.eye(size)
        both.append(bell / bell.sum(1, keepdims=True))
    return both


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def textbook(activation, slope, sigma, beta, steps, copies, rate):
    """The bits of one example of a linear score, as the paper learns them."""
    mean, deviation = BACKGROUND.mean(0), BACKGROUND.std(0)
    r = (activation - mean) / deviation
    rows, columns = bells(sigma)
    alpha = np.full(activation.shape, 5.0)
    first, second = np.zeros_like(alpha), np.zeros_like(alpha)
    for t in range(steps):
        keys = each_folded(folded(steady(KEY), t), jnp.arange(copies))
        draws = [jax.random.normal(k, (1, *alpha.shape), np.float64)[0] for k in keys]
        noise = np.mean(np.asarray(draws), 0)
        share = np.einsum("ia,jb,abc->ijc", rows, columns, sigmoid(alpha))
        of_score = slope * (activation - mean - deviation * noise)
        of_nats = 1 / (1 - share) - (1 - share) + share * r**2
        of_share = beta / alpha.size * of_nats - of_score
        gradient = np.einsum("ia,jb,ijc->abc", rows, columns, of_share)
        gradient = gradient * sigmoid(alpha) * (1 - sigmoid(alpha))
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        of_adam = first / (1 - 0.9 ** (t + 1))
        of_adam = of_adam / (np.sqrt(second / (1 - 0.999 ** (t + 1))) + 1e-8)
        alpha = alpha - rate * of_adam
    share = np.einsum("ia,jb,abc->ijc", rows, columns, sigmoid(alpha))
    nats = ((share * r) ** 2 + (1 - share) ** 2 - 1) / 2 - np.log(1 - share)
    return (nats / np.log(2)).sum(-1)


@pytest.mark.parametrize("sigma", [0.0, 0.7])
def test_it_learns_as_the_paper_does(sigma):
    options = {"at": "tanh", "background": BACKGROUND, "score": "logit"}
    options |= {"beta": 3.0, "steps": 6, "copies": 3, "sigma": sigma, "resize": False}
    attribute = compiled(information_bottleneck(linear, **options))
    received = attribute(WEIGHTS, IMAGES, TARGET, KEY)
    assert received.shape == (2, 3, 4)
    for image, c, bits in zip(IMAGES, TARGET, received, strict=True):
        slope = WEIGHTS[:, c].reshape(3, 4, 2)
        expected = textbook(np.tanh(image), slope, sigma, 3.0, 6, 3, 1.0)
        np.testing.assert_allclose(bits, expected, rtol=1e-5)  # the root's 1e-16
    chunked = compiled(information_bottleneck(linear, batch_size=2, **options))
    again = chunked(WEIGHTS, IMAGES, TARGET, KEY)
    np.testing.assert_allclose(again, received, rtol=1e-9)


@pytest.mark.slow(reason="thirty steps of Adam through a network")
def test_what_the_score_does_not_read_transmits_nothing():
    weights = WEIGHTS.reshape(3, 4, 2, 3).copy() * 20
    weights[1:] = 0
    bits = {}
    for steps in (10, 30):
        attribute = information_bottleneck(
            linear,
            at="tanh",
            background=BACKGROUND,
            steps=steps,
            sigma=0.0,
            resize=False,
            score="logit",
        )
        bits[steps] = compiled(attribute)(weights.reshape(24, 3), IMAGES, TARGET, KEY)
    assert bits[10][:, 1:].max() < 0.01
    assert bits[30][:, 1:].max() < 1e-4 * bits[10][:, 1:].max()
    assert bits[30].min() >= 0
    single = jax.tree.map(np.float32, (weights.reshape(24, 3), IMAGES))
    rounded = compiled(attribute)(*single, TARGET, KEY)
    assert rounded.dtype == np.float32
    assert rounded.min() >= 0
    np.testing.assert_allclose(rounded[:, 1:], bits[30][:, 1:], rtol=0.01)
    assert bits[30][:, 0].sum() > 1


def test_a_map_is_resized_to_the_inputs():
    options = {"at": "tanh", "background": BACKGROUND, "steps": 2, "score": "logit"}
    small = information_bottleneck(linear, resize=False, **options)
    full = information_bottleneck(linear, **options)
    maps = full(WEIGHTS, IMAGES, TARGET, KEY)
    assert maps.shape == IMAGES.shape
    np.testing.assert_allclose(
        maps.sum(-1), small(WEIGHTS, IMAGES, TARGET, KEY), rtol=1e-9
    )
    by_glob = information_bottleneck(linear, **{**options, "at": "*anh"})
    assert list(by_glob(WEIGHTS, IMAGES, TARGET, KEY)) == ["tanh"]


def test_the_planted_object_is_found():
    data = ji.data.shapes(jax.random.key(1), 8, size=32)
    images = np.asarray(data.images)

    def outlined(v, x):  # only the target has a white outline
        white = jax.nn.relu(x - 0.5)
        return 100 * white.prod(-1).sum((1, 2))[:, None]

    attribute = information_bottleneck(
        outlined, at="relu", background=np.maximum(images - 0.5, 0), score="logit"
    )
    bits = np.asarray(compiled(attribute)(None, images[:2], 0, KEY).sum(-1))
    for values, target in zip(bits, np.asarray(data.mask), strict=False):
        assert values[target].mean() > 3 * values[~target].mean()


def test_nan_stays_in_its_example_and_a_batch_may_be_empty():
    images = IMAGES.copy()
    images[1, 0, 0, 0] = np.nan
    options = {"at": "tanh", "background": BACKGROUND, "steps": 1, "score": "logit"}
    attribute = information_bottleneck(
        lambda w, x: jnp.tanh(x).sum((1, 2)) @ w, **options
    )
    received = attribute(np.ones((2, 3)), images, TARGET, KEY)
    assert np.isfinite(received[0]).all()
    assert np.isnan(received[1]).any()
    assert attribute(np.ones((2, 3)), images[:0], TARGET[:0], KEY).shape[0] == 0


def test_what_is_wrong_is_said():
    def of(key=KEY, images=IMAGES, **options):
        options = {"at": "tanh", "background": BACKGROUND, "steps": 1, **options}
        return information_bottleneck(linear, **options)(WEIGHTS, images, TARGET, key)

    for name, value in [
        ("beta", -1.0),
        ("steps", 0),
        ("copies", 0),
        ("learning_rate", 0.0),
        ("sigma", -1.0),
        ("batch_size", 0),
    ]:
        with pytest.raises(ValueError, match=name):
            of(**{name: value})
    with pytest.raises(ValueError, match="`background` has one example"):
        of(background=BACKGROUND[:1])
    with pytest.raises(ValueError, match="all examples of `background` are equal"):
        of(background=np.ones_like(BACKGROUND))
    with pytest.raises(ValueError, match="`background` has the shapes"):
        of(background=BACKGROUND[:, 1:])
    with pytest.raises(TypeError, match="needs one key"):
        of(key=None)
    vectors, weights = models.vectors(), models.mlp_weights()
    flat = information_bottleneck(models.mlp, at="relu", background=np.ones((2, 8)))
    with pytest.raises(ValueError, match="no positions"):
        flat(weights, vectors, models.targets(), KEY)
    tagged = information_bottleneck(
        models.tagger, at="embed", background=models.normal(1, 3, 4, 6), steps=1
    )
    with pytest.raises(ValueError, match="resize=False"):
        tagged(models.token_weights(), models.tokens(), models.targets(), KEY)
