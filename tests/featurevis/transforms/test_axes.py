"""Views of signals and volumes, which have one axis or three beside the channels."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxinterp import featurevis as fv
from jaxinterp.featurevis.transforms.box_crop import box_crop
from jaxinterp.featurevis.transforms.crop import crop
from jaxinterp.featurevis.transforms.crop_or_pad import crop_or_pad
from jaxinterp.featurevis.transforms.flip import flip
from jaxinterp.featurevis.transforms.jitter import jitter
from jaxinterp.featurevis.transforms.pad import pad
from jaxinterp.featurevis.transforms.rotate import rotate
from jaxinterp.featurevis.transforms.scale import scale
from jaxinterp.featurevis.transforms.transform import compose
from tests.compiled import compiled
from tests.few import few

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
SHAPES = [(9, 2), (4, 7, 5, 1), (3, 4, 3, 5, 2)]


def values(shape):
    return jnp.asarray(RNG.uniform(size=shape))


def seen_by(transform, image, key=KEY):
    """What a transform shows of an image, in one program."""
    return compiled(transform)(key, image)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fill", [0.25, "edge", "reflect"])
def test_pad_is_that_of_numpy(shape, fill):
    image = values(shape)
    widths = [(2, 2)] * (len(shape) - 1) + [(0, 0)]
    given = {} if isinstance(fill, str) else {"constant_values": fill}
    mode = fill if isinstance(fill, str) else "constant"
    seen = seen_by(pad(2, fill=fill), image)
    expected = np.pad(image, widths, mode=mode, **given)
    np.testing.assert_allclose(seen, expected, atol=1e-15)


def test_a_random_border_has_one_color_for_each_channel():
    image = values((4, 3, 5, 2))
    seen = np.asarray(seen_by(pad(1, fill="random"), image))
    np.testing.assert_array_equal(seen[1:-1, 1:-1, 1:-1], image)
    assert (seen[0] == seen[0, 0, 0]).all()
    assert seen[0, 0, 0, 0] != seen[0, 0, 0, 1]


@pytest.mark.parametrize("transform", [jitter(2), crop((7,)), crop(7)])
def test_a_window_of_a_signal_is_one_of_the_slices_each_as_often(transform):
    image = values((9, 2))
    keys = jax.random.split(KEY, 300)
    seen = np.asarray(compiled(jax.vmap(transform, (0, None)))(keys, image))
    image = np.asarray(image)
    counts = [(seen == image[i : i + 7]).all((1, 2)).sum() for i in range(3)]
    assert sum(counts) == 300
    assert min(counts) > 65  # 100 are expected, and 8 the standard deviation


def test_a_window_of_a_volume_is_one_of_the_slices():
    image = np.asarray(values((4, 7, 5, 1)))
    seen = np.asarray(seen_by(crop((3, 4, 5)), jnp.asarray(image)))
    slices = [
        image[i : i + 3, j : j + 4] for i, j in itertools.product(range(2), range(4))
    ]
    assert sum(bool((seen == one).all()) for one in slices) == 1


@pytest.mark.parametrize(
    "shape", few([(shape,) for shape in SHAPES], 2, reason="the same with another axis")
)
def test_every_axis_can_be_reversed(shape):
    image = values(shape)
    for axis in range(len(shape) - 1):
        seen = seen_by(flip(axis, probability=1.0), image)
        np.testing.assert_array_equal(seen, np.flip(image, axis))


@pytest.mark.parametrize("factor", [0.6, 1.0, 1.3, 7.0])
def test_a_zoom_of_a_signal_is_linear_interpolation(factor):
    image = values((9, 2))
    place = (np.arange(9) - 4) / factor + 4
    seen = np.asarray(seen_by(scale(factor, fill="edge"), image))
    outside = seen_by(scale(factor, fill=0.25), image)
    image, seen_outside = np.asarray(image), np.asarray(outside)
    for channel in range(2):
        expected = np.interp(place, np.arange(9), image[:, channel])
        np.testing.assert_allclose(seen[:, channel], expected, atol=1e-12)
    for channel in range(2):
        outside = np.pad(image[:, channel], 1, constant_values=0.25)
        expected = np.interp(place, np.arange(-1, 10), outside)
        np.testing.assert_allclose(seen_outside[:, channel], expected, atol=1e-12)


@pytest.mark.parametrize("factor", few([1.4, 0.7], 1, reason="the same, smaller"))
def test_a_zoom_of_a_volume_is_one_along_each_axis(factor):
    image = values((4, 7, 5, 1))
    expected = np.asarray(image)
    for axis in range(3):
        moved = np.moveaxis(expected, axis, 0)
        flat = jnp.asarray(moved.reshape(len(moved), -1))
        zoomed = np.asarray(seen_by(scale(factor, fill="edge"), flat))
        expected = np.moveaxis(zoomed.reshape(moved.shape), 0, axis)
    seen = seen_by(scale(factor, fill="edge"), image)
    np.testing.assert_allclose(seen, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("axes", "turns"), [((0, 1), 1), ((0, 2), -1), ((1, 2), 2), ((2, 0), 1)]
)
def test_a_quarter_turn_of_a_volume_is_that_of_numpy(axes, turns):
    image = values((5, 5, 5, 2))
    seen = seen_by(rotate(90.0 * turns, axes=axes), image)
    np.testing.assert_array_equal(seen, np.rot90(image, turns, axes))


@pytest.mark.parametrize(
    ("axes", "fill"),
    few(
        [((0, 1), "reflect"), ((1, 2), 0.25), ((2, 0), "reflect")],
        1,
        reason="the same turn about another axis",
    ),
)
def test_a_turn_of_a_volume_turns_each_slice(axes, fill):
    image = values((4, 6, 5, 2))
    (still,) = {0, 1, 2} - set(axes)
    seen = seen_by(rotate(35.0, fill=fill, axes=axes), image)
    slices = jnp.asarray(np.transpose(image, (still, *axes, 3)))
    one = compiled(rotate(35.0, fill=fill))
    expected = np.stack([one(KEY, picture) for picture in slices])
    np.testing.assert_allclose(
        np.transpose(seen, (still, *axes, 3)), expected, atol=1e-12
    )
    picture = seen_by(rotate(35.0, fill=fill, axes=(1, 0)), slices[0])
    back = seen_by(rotate(-35.0, fill=fill), slices[0])
    np.testing.assert_allclose(picture, back, atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "transforms"),
    few(
        [
            ((9, 2), [pad(3), jitter(4), scale(0.8, 1.2), flip(0), crop_or_pad()]),
            ((4, 3, 5, 1), [scale(0.5), crop_or_pad((3, 5, 4))]),
            ((9, 2), [box_crop(7, sides=(0.5, 0.5))]),
            ((9, 2), [scale(1.1), crop_or_pad((12,))]),
            ((4, 3, 5, 1), [pad(1), jitter(1), scale(1.05), flip(2), crop_or_pad()]),
            (
                (4, 3, 5, 1),
                [rotate(8.0, axes=(0, 2)), rotate(-5.0, axes=(2, 1)), pad(1)],
            ),
            (
                (3, 3, 4, 2),
                [scale(1.1), rotate(80.0, axes=(1, 0)), rotate(9.0, axes=(1, 2))],
            ),
            ((4, 3, 5, 1), [box_crop((4, 2, 6), sides=(0.5, 0.5))]),
        ],
        3,
        reason="more moves at once, in programs of two to five seconds",
    ),
)
def test_the_gradient_is_the_transpose_of_the_view(shape, transforms):
    image, transform = values(shape), compose(transforms)
    seen = jax.eval_shape(transform, KEY, image)
    upstream = RNG.normal(size=seen.shape)
    gradient = compiled(
        lambda x, upstream: jax.vjp(lambda x: transform(KEY, x), x)[1](upstream)[0]
    )(image, jnp.asarray(upstream))

    def linear(x):
        return transform(KEY, x) - transform(KEY, jnp.zeros(shape))

    units = jnp.asarray(np.eye(math.prod(shape)).reshape(-1, *shape))
    columns = np.asarray(compiled(jax.vmap(linear))(units)).reshape(len(units), -1)
    expected = (columns @ upstream.ravel()).reshape(shape)
    np.testing.assert_allclose(gradient, expected, atol=1e-12)
    assert (np.asarray(gradient) != 0).any()


@pytest.mark.parametrize(
    ("shape", "transforms"),
    few(
        [
            ((9, 2), [pad(3), jitter(2), flip(0), crop_or_pad((5,)), pad(1)]),
            ((4, 3, 5, 1), [pad(1), jitter(2), flip(2), pad(1, fill="edge"), crop(3)]),
        ],
        1,
        reason="the same along three axes",
    ),
)
def test_joined_and_one_by_one_are_the_same(shape, transforms):
    def one_by_one(key, seen):
        for i, transform in enumerate(transforms):
            seen = transform(jax.random.fold_in(key, i), seen)
        return seen

    image = values(shape)
    np.testing.assert_array_equal(
        seen_by(compose(transforms), image), seen_by(one_by_one, image)
    )


@pytest.mark.parametrize(("shape", "corners"), [((9, 2), 2), ((4, 3, 5, 1), 8)])
def test_however_many_are_composed_there_is_one_gather_of_all_corners(shape, corners):
    shaken = compose([pad(2), jitter(1), scale(0.9, 1.1), scale(0.9, 1.1)])
    program = jax.make_jaxpr(shaken)(KEY, jnp.zeros(shape))
    assert str(program).count(" gather[") == corners
    assert lax.gather_p.name == "gather"


@pytest.mark.slow(reason="150 steps of an optimization through every kind of view")
@pytest.mark.parametrize("shape", [(32, 1), (7, 9, 8, 1)])
def test_a_shaken_picture_finds_the_template_that_is_looked_for(shape):
    axes = len(shape) - 1
    window = (8,) if axes == 1 else (4, 4, 3)
    half = window[0] // 2
    template = jnp.ones((*window, 1, 1), jnp.float32).at[:half].set(-1)
    names = ("NWC", "WIO", "NWC") if axes == 1 else ("NDHWC", "DHWIO", "NDHWC")

    def model(kernel, x):
        y = lax.conv_general_dilated(
            x - 0.5, kernel, (1,) * axes, "VALID", dimension_numbers=names
        )
        return jnp.tanh(y / 50) * 50

    found = fv.maximize(
        model,
        fv.neuron("tanh", 0),
        template,
        key=KEY,
        parametrization=fv.pixels(shape),
        transforms=[pad(1), jitter(2), scale(0.98, 1.02), crop_or_pad()],
        steps=150,
    )
    image = np.asarray(found.images[0]) - 0.5

    def cosine(start):
        part = image[tuple(slice(s, s + n) for s, n in zip(start, window, strict=True))]
        flat = np.asarray(template).ravel()
        return part.ravel() @ flat / np.linalg.norm(part) / np.linalg.norm(flat)

    rooms = [n - w + 1 for n, w in zip(shape[:-1], window, strict=True)]
    best = max(cosine(start) for start in itertools.product(*map(range, rooms)))
    assert best > 0.9
