"""Inversion, caricature, accentuation and style on functions with known answers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp import featurevis as fv
from jaxinterp.featurevis.optimize.composite_schedule import DERIVATIVE

KEY = jax.random.key(0)
SHAPE = (5, 6, 3)
IMAGES = jax.random.uniform(jax.random.key(1), (2, *SHAPE), jnp.float32, 0.2, 0.8)
PIXELS = fv.pixels(SHAPE)
PICTURES = {"parametrization": PIXELS}


def solved(apply_fn, problem, **options):
    options = {"key": KEY, "progress": False, **options}
    return fv.maximize(apply_fn, variables=None, **problem._asdict(), **options)


def red_is_lost(w, x):
    return jnp.tanh(x[..., 1:])


def test_inversion_finds_what_a_layer_keeps_and_not_what_it_loses():
    def run(smoothness):
        given = (red_is_lost, "tanh", None, IMAGES)
        problem = fv.invert(*given, smoothness=smoothness, **PICTURES)
        return solved(red_is_lost, problem, steps=200)

    result, smooth = run(0.0), run(1.0)
    distance = np.abs(np.asarray(result.images - IMAGES))
    assert distance[..., 1:].max() < 0.02
    assert distance[..., 0].mean() > 0.1
    assert np.std(smooth.images[..., 1:]) < 0.5 * np.std(result.images[..., 1:])


def test_a_caricature_exaggerates():
    def model(w, x):
        return jnp.tanh(x - 0.5)

    problem = fv.caricatures(model, "tanh", None, IMAGES, **PICTURES)
    result = solved(model, problem, steps=150)
    away, before = (np.asarray(x) - 0.5 for x in (result.images, IMAGES))
    clear = np.abs(before) > 0.05
    assert (np.sign(away) == np.sign(before))[clear].all()
    assert (np.abs(away) > np.abs(before))[clear].all()
    assert np.abs(away)[clear].mean() > 0.4


def test_an_accentuated_image_is_itself_and_more():
    def model(w, x):
        return jnp.exp(x)

    def run(weight):
        given = (model, "exp:0", None, IMAGES)
        problem = fv.accentuate(*given, weight=weight, **PICTURES)
        return np.asarray(solved(model, problem, steps=128).images)

    free, held = run(0.0), run(10.0)
    for images in (free, held):
        assert (images[..., 0] > np.asarray(IMAGES[..., 0])).all()
        np.testing.assert_allclose(images[..., 1:], IMAGES[..., 1:], atol=0.01)
    assert np.abs(held - IMAGES).max() < np.abs(free - IMAGES).max()


def test_an_image_may_be_kept_at_a_site():
    # The layer does not see red, so red may change as it likes.
    def apply_fn(w, x):
        seen = jnp.tanh(x[..., 1:])
        return seen.sum((1, 2, 3))[:, None] + x[..., 0].sum((1, 2))[:, None]

    given = (apply_fn, fv.output(0), None, IMAGES)
    problem = fv.accentuate(*given, site="tanh", weight=1e3, **PICTURES)
    result = solved(apply_fn, problem, steps=128)
    change = np.asarray(result.images - IMAGES)
    assert change[..., 0].min() > 0.1
    assert np.abs(change[..., 1:]).max() < 0.01


def test_style_is_what_remains_when_places_are_exchanged():
    # Half of the places red, half blue: as a style, it does not matter which.
    red, blue = jnp.array([0.9, 0.1, 0.1]), jnp.array([0.1, 0.1, 0.9])
    rows = jnp.arange(6)[:, None, None] % 2
    painting = jnp.where(rows == 0, red[None, None], blue[None, None])
    painting = jnp.broadcast_to(painting, (6, 6, 3)).astype(jnp.float32)[None]
    content = jax.random.uniform(KEY, (1, 6, 6, 3), jnp.float32, 0.4, 0.6)

    def gram(images):
        a = np.tanh(np.asarray(images)).reshape(-1, 3)
        return a.T @ a / len(a)

    def distance(images):
        return np.abs(gram(images) - gram(painting)).max()

    def model(w, x):
        return jnp.sin(jnp.tanh(x))

    problem = fv.style_transfer(
        *(model, "tanh", ["tanh"], None, content, painting),
        style_weight=100.0,
        parametrization=fv.pixels((6, 6, 3)),
    )
    result = solved(model, problem, steps=200)
    assert distance(result.images) < 0.2 * distance(content)
    assert np.abs(result.images - painting).mean() > 0.1


def test_the_default_pictures_have_the_shape_of_the_images():
    images = IMAGES[:, :4, :, :2]
    model, one = (lambda w, x: jnp.tanh(x)), images[:1]
    for problem in (
        fv.invert(model, "tanh", None, images),
        fv.caricatures(model, "tanh", None, images),
        fv.accentuate(model, "tanh:0", None, images),
        fv.style_transfer(model, "tanh", ["tanh"], None, one, one),
    ):
        assert problem.parametrization.shape == images.shape[1:]


def test_edits_start_at_the_images():
    def model(w, x):
        return jax.nn.relu(jnp.tanh(x))

    one = IMAGES[:1]
    edited = fv.accentuate(model, "relu:0", None, IMAGES, **PICTURES)
    painted = fv.style_transfer(model, "tanh", ["relu"], None, one, 1 - one, **PICTURES)
    for problem, images in ((edited, IMAGES), (painted, one)):
        assert problem.count == len(images)
        start = solved(model, problem, steps=0).images
        np.testing.assert_allclose(start, images, atol=1e-5)


def test_the_first_steps_may_be_like_all_others():
    # What the rules of the first steps do not fit: a relu that is given to a loop.
    dead = jnp.full((1, *SHAPE), 0.2)

    def apply_fn(w, x):
        return jax.nn.relu(x - 0.5)

    def run(**options):
        start = fv.from_image(PIXELS, dead)
        given = (apply_fn, "relu", None, 0.9 + 0 * dead)
        problem = fv.caricatures(*given, parametrization=start)
        return solved(apply_fn, problem, steps=1, **options).images

    assert (np.asarray(run()) > 0.2001).any()
    np.testing.assert_allclose(run(composite=DERIVATIVE), dead, atol=1e-6)


@pytest.mark.slow(reason="compiles an inversion for each number of images")
def test_images_may_be_taken_a_few_at_a_time():
    def model(w, x):
        return jnp.tanh(x)

    for edit in (fv.invert, fv.caricatures):
        problem = edit(model, "tanh", None, IMAGES, **PICTURES)
        together = solved(model, problem, steps=3).images
        apart = solved(model, problem, steps=3, batch_size=1).images
        np.testing.assert_allclose(together, apart, atol=1e-6)


def test_what_cannot_be_edited_is_an_error():
    with pytest.raises(ValueError, match="objective of one unit, and this one has 3"):
        fv.accentuate(lambda w, x: jnp.exp(x), "exp:*", None, IMAGES, **PICTURES)
    with pytest.raises(ValueError, match="`content` is one image"):
        fv.style_transfer(
            red_is_lost, "tanh", ["tanh"], None, IMAGES, IMAGES[:1], **PICTURES
        )
    for edit in (fv.invert, fv.caricatures):
        with pytest.raises(ValueError, match="divide by 255"):
            edit(red_is_lost, "tanh", None, 255 * IMAGES, **PICTURES)
        with pytest.raises(ValueError, match="images / 255"):
            edit(
                red_is_lost, "tanh", None, np.zeros((1, 4, 4, 3), np.uint8), **PICTURES
            )
    with pytest.raises(ValueError, match="nothing of the style excites 'relu'"):
        fv.style_transfer(
            lambda w, x: jax.nn.relu(jnp.tanh(x) - 2),
            *("tanh", ["relu"], None, IMAGES[:1], IMAGES[:1]),
            **PICTURES,
        )
    with pytest.raises(ValueError, match="No site matches"):
        fv.invert(red_is_lost, "nowhere", None, IMAGES, **PICTURES)


def test_a_weight_is_one_number_and_style_has_several_sites():
    model = (lambda w, x: jnp.exp(x), "exp:0", None, IMAGES)
    with pytest.raises(ValueError, match=r"one number for all images, .* \(2,\)"):
        fv.accentuate(*model, weight=jnp.ones(2), **PICTURES)
    with pytest.raises(TypeError, match=r"Write `\['tanh'\]`"):
        fv.style_transfer(
            red_is_lost, "tanh", "tanh", None, IMAGES[:1], IMAGES[:1], **PICTURES
        )
    for edit in (fv.invert, fv.caricatures):
        with pytest.raises(ValueError, match="at least one image, with the batch"):
            edit(red_is_lost, "tanh", None, IMAGES[:0], **PICTURES)
