"""Recipes have the numbers that were published, and give images of the right size."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxinterp import featurevis as fv
from jaxinterp.featurevis.transforms.blur import Blur
from jaxinterp.featurevis.transforms.box_crop import BoxCrop, box_crop
from jaxinterp.featurevis.transforms.crop import Crop
from jaxinterp.featurevis.transforms.crop_or_pad import CropOrPad
from jaxinterp.featurevis.transforms.flip import Flip
from jaxinterp.featurevis.transforms.noise import Noise
from jaxinterp.featurevis.transforms.pad import Pad
from jaxinterp.featurevis.transforms.recipes import (
    maco_crops,
    recipe,
    xplique_transforms,
)
from jaxinterp.featurevis.transforms.resize import Resize
from jaxinterp.featurevis.transforms.rotate import Rotate
from jaxinterp.featurevis.transforms.scale import Scale
from tests.compiled import compiled
from tests.few import few

KEY = jax.random.key(0)


def of(kind, steps):
    return [step for step in steps.transforms if isinstance(step, kind)]


def jitters(steps):
    return [step.margin for step in of(Crop, steps)]


def test_lucid():
    steps = recipe("lucid", keep_size=False)
    assert [type(s) for s in steps.transforms] == [Pad, Crop, Scale, Rotate, Crop]
    assert of(Pad, steps) == [Pad(12, 0.5)]
    assert jitters(steps) == [8, 4]
    factors = of(Scale, steps)[0].factor.choices
    np.testing.assert_allclose(factors, np.linspace(0.9, 1.1, 11))
    angles = of(Rotate, steps)[0].angle.choices
    assert sorted(angles) == sorted([*range(-10, 11), 0, 0, 0, 0, 0])
    assert of(CropOrPad, recipe("lucid")) == [CropOrPad(None)]


def test_there_are_no_other_recipes():
    with pytest.raises(ValueError, match=r"'deepdream'\. There are: 'lucid'"):
        recipe("deepdream")


def test_a_recipe_keeps_the_size_or_does_not():
    message = r"`keep_size` must be True or False, and is 'a'.*compose\(\[recipe"
    with pytest.raises(ValueError, match=message):
        recipe("lucid", keep_size="a")
    other_size = fv.compose([recipe("lucid"), fv.resize(8)])
    assert other_size(KEY, jnp.zeros((16, 16, 3))).shape == (8, 8, 3)


def test_distill():
    steps = recipe("distill")
    kinds = [Pad, Crop, Scale, Rotate, Crop, CropOrPad]
    assert [type(step) for step in steps.transforms] == kinds
    assert of(Pad, steps) == [Pad(16, 0.5)]
    assert jitters(steps) == [16, 8]
    factors = of(Scale, steps)[0].factor.choices
    np.testing.assert_allclose(sorted(factors), np.linspace(0.95, 1.05, 5))
    assert of(Rotate, steps)[0].angle.choices == tuple(range(-5, 6))


def test_captum():
    steps = recipe("captum")
    assert of(Pad, steps) == [
        Pad(2, 0.5),
        *[Pad(4, "reflect")] * 10,
        Pad(2, "reflect"),
    ]
    assert jitters(steps) == [8] * 10 + [4]  # up to 4 and 2 to either side
    factors = of(Scale, steps)[0].factor.choices
    wanted = [0.995**i for i in range(-5, 80)] + 2 * [0.998**i for i in range(20, 40)]
    np.testing.assert_allclose(sorted(factors), sorted(wanted))
    angles = [*range(-20, 20), *range(-10, 10), *range(-5, 5), *[0] * 5]
    assert sorted(of(Rotate, steps)[0].angle.choices) == sorted(angles)


def test_xplique():
    steps = xplique_transforms(64)
    assert of(Pad, steps) == [Pad(16, 0.0)]
    assert jitters(steps) == [8, 8, 16, 16, 16, 4, 4]
    factor = of(Scale, steps)[0].factor
    assert (factor.low, factor.high) == (0.92, 0.96)
    sigma = of(Blur, steps)[0].sigma
    assert (sigma.low, sigma.high) == (1.0, 1.1)
    assert len(of(Flip, steps)) == 1
    assert steps.transforms[-1] == Resize(64)
    with pytest.raises(ValueError, match="an integer of at least 16, and is 8"):
        xplique_transforms(8)


def test_atlas():
    steps = recipe("atlas")
    assert of(Pad, steps) == [Pad(16, 0.5)]
    assert jitters(steps) == [4, 4, 8, 8, 8, 2]
    factors = of(Scale, steps)[0].factor.choices
    assert len(factors) == 20
    np.testing.assert_allclose([factors[0], factors[-1]], [0.998**20, 0.998**39])
    angles = of(Rotate, steps)[0].angle.choices
    assert len(angles) == 40 + 20 + 10 + 5
    assert [angles.count(a) for a in (-20, -10, -5, 0, 4, 9, 19)] == [
        1,
        2,
        3,
        8,
        3,
        2,
        1,
    ]


@pytest.mark.parametrize("size", [(32, 24), (33, 47)])
@pytest.mark.parametrize(
    ("steps", "grows"),
    [
        (recipe("lucid"), 0),
        (recipe("lucid", keep_size=False), 12),
        (recipe("distill"), 0),
        (recipe("atlas"), 0),
    ],
)
def test_the_size_is_kept(steps, grows, size):
    seen = jax.eval_shape(steps, KEY, jax.ShapeDtypeStruct((*size, 3), jnp.float32))
    assert seen.shape == (size[0] + grows, size[1] + grows, 3)


@pytest.mark.parametrize(
    "name",
    few(["distill", "lucid", "atlas"], 1, reason="compiles another whole recipe"),
)
def test_a_gray_picture_stays_gray_whatever_happens(name):
    image = jnp.full((32, 24, 3), 0.5, jnp.float32)
    gray = recipe(name)
    seen = compiled(jax.vmap(gray, (0, None)))(jax.random.split(KEY, 20), image)
    np.testing.assert_allclose(seen, 0.5, atol=1e-6)


def boxes(transform, size, count=400):
    """Side, middle and reach of random boxes, as shares of the image's sides."""
    # A ramp, linear from 0 to 1 between the outermost pixels, says what place is seen.
    rows, columns = (np.linspace(0.0, 1.0, n) for n in size)
    ramp = jnp.asarray(np.stack(np.meshgrid(rows, columns, indexing="ij"), -1))
    many = compiled(jax.vmap(transform, (0, None)))
    seen = np.asarray(many(jax.random.split(KEY, count), ramp))
    first, last = seen[:, 0, 0], seen[:, -1, -1]
    return last - first, (first + last) / 2


@pytest.mark.slow(reason="compiles an optimization to see its boxes")
def test_boxes_shrink_while_the_picture_is_made():
    crops = box_crop((9, 17), sides=(0.5, 0.2), deviation=0.02)
    for progress, expected in ((0.0, 0.5), (0.5, 0.35), (1.0, 0.2)):
        sides, _ = boxes(crops.at(progress), (40, 64))
        np.testing.assert_allclose(sides[:, 0], sides[:, 1], atol=1e-9)
        np.testing.assert_allclose(sides.mean(), expected, atol=0.005)
        np.testing.assert_allclose(sides[:, 0].std(), 0.02, rtol=0.15)


def test_boxes_are_spread_about_the_middle_and_lie_within_the_picture():
    sides, middles = boxes(box_crop(8, sides=(0.1, 0.1), deviation=0.0), (40, 64))
    np.testing.assert_allclose(sides, 0.1, atol=1e-9)
    np.testing.assert_allclose(middles.mean(0), 0.5, atol=0.03)
    np.testing.assert_allclose(middles.std(0), 0.15, rtol=0.1)
    sides, middles = boxes(box_crop(8, spread=1.0, sides=(0.6, 0.6)), (40, 64))
    assert (middles - sides / 2).min() > -1e-9
    assert (middles + sides / 2).max() < 1 + 1e-9


def test_drawn_sides_are_shares():
    sides, _ = boxes(box_crop(8, sides=(0.06, 1.0), deviation=0.5), (40, 64))
    np.testing.assert_allclose([sides.min(), sides.max()], [0.05, 1.0], atol=1e-9)


def test_maco_is_boxes_with_noise():
    steps = maco_crops(16)
    assert steps.transforms == (
        BoxCrop(16, (0.5, 0.05), 0.05, 0.15),
        Noise(0.08, 0.08),
    )
    later = steps.at(0.5)
    assert later.transforms[0].progress == 0.5
    image = jnp.full((48, 40, 3), 0.5, jnp.float32)
    seen = np.asarray(compiled(lambda progress: steps.at(progress)(KEY, image))(0.25))
    assert seen.shape == (16, 16, 3)
    np.testing.assert_allclose(seen.std(), np.sqrt(0.08**2 * (1 + 1 / 12)), rtol=0.1)


@pytest.mark.slow(reason="compiles a whole recipe twice")
def test_a_recipe_after_a_crop_keeps_the_size_of_the_crop():
    image = jax.random.uniform(KEY, (16, 16, 3), jnp.float32)
    joined = fv.compose([fv.crop(8), recipe("lucid")])
    seen = compiled(joined)(KEY, image)
    assert seen.shape == (8, 8, 3)

    @compiled
    def one_by_one(key, image):
        first = fv.crop(8)(jax.random.fold_in(key, 0), image)
        return recipe("lucid")(jax.random.fold_in(key, 1), first)

    both = one_by_one(KEY, image)
    np.testing.assert_allclose(seen, both, atol=1e-6)


@pytest.mark.slow(reason="32 views of 64 pixels")
@pytest.mark.parametrize(
    ("steps", "most"),
    [(recipe("captum"), 0.35), (xplique_transforms(64), 0.15)],
    ids=["captum", "xplique"],
)
def test_what_the_model_sees_is_mostly_the_picture(steps, most):
    keys = jax.random.split(KEY, 32)
    many = compiled(jax.vmap(steps, (0, None)))
    seen = np.asarray(many(keys, jnp.ones((64, 64, 3), jnp.float32)))
    assert seen.shape == (32, 64, 64, 3)
    assert float((seen < 0.6).mean()) < most


@pytest.mark.parametrize("size", [(5, 9), (12, 4), (1, 7), (8, 8)])
def test_resize_is_that_of_jax(size):
    image = jnp.asarray(np.random.default_rng(0).random((6, 8, 3)))
    weights = jnp.asarray(np.random.default_rng(1).random((*size, 3)))

    def run(resize):
        def weighted(x):
            seen = resize(x)
            return (seen * weights).sum(), seen

        return compiled(jax.grad(weighted, has_aux=True))(image)

    slope, seen = run(lambda x: fv.resize(size)(KEY, x))
    expected_slope, expected = run(
        lambda x: jax.image.resize(x, (*size, 3), "linear", antialias=False)
    )
    np.testing.assert_allclose(seen, expected, atol=1e-12)
    np.testing.assert_allclose(slope, expected_slope, atol=1e-12)


def test_resize_of_a_signal_a_volume_and_what_does_not_fit():
    signal, volume = jnp.zeros((8, 2)), jnp.zeros((4, 4, 4, 1))
    assert jax.eval_shape(fv.resize(5), KEY, signal).shape == (5, 2)
    assert jax.eval_shape(fv.resize((5, 6, 7)), KEY, volume).shape == (5, 6, 7, 1)
    with pytest.raises(ValueError, match=r"resize\(\(5, 6\)\) is for images of 2 axes"):
        fv.resize((5, 6))(KEY, jnp.zeros((8, 2)))
    with pytest.raises(ValueError, match=r"resize\(\) takes a size"):
        fv.resize(0)


@pytest.mark.slow(reason="compiles an optimization to see its last boxes")
def test_the_last_step_has_the_last_boxes():
    """Of a white dot on black the mean brightness says how large the boxes are."""
    image = jnp.zeros((65, 65, 1)).at[32, 32].set(1.0)
    crops = box_crop(65, sides=(1.0, 0.25), deviation=0.0, spread=0.0)
    light = fv.custom(lambda view: view.activations["tanh"].sum((1, 2, 3)), "tanh")
    history = fv.maximize(
        lambda w, x: jnp.tanh(x),
        light,
        None,
        key=KEY,
        parametrization=fv.from_image(
            fv.pixels((65, 65, 1), squash="clip"), image[None]
        ),
        transforms=crops,
        optimizer=optax.sgd(0.0),
        steps=4,
        progress=False,
    ).history[:, 0]
    seen = compiled(lambda share: crops.at(share)(KEY, image))
    wanted = [np.tanh(seen(share)).sum() for share in (0.0, 1 / 3, 1.0)]
    np.testing.assert_allclose(history[jnp.array([0, 1, 3])], wanted, rtol=1e-4)
