"""Views of an image: each is what it says, alone and joined to one warp."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxinterp.featurevis.transforms import warp
from jaxinterp.featurevis.transforms.blur import blur
from jaxinterp.featurevis.transforms.box_crop import box_crop
from jaxinterp.featurevis.transforms.crop import crop
from jaxinterp.featurevis.transforms.crop_or_pad import crop_or_pad
from jaxinterp.featurevis.transforms.flip import flip
from jaxinterp.featurevis.transforms.jitter import jitter
from jaxinterp.featurevis.transforms.noise import noise
from jaxinterp.featurevis.transforms.pad import pad
from jaxinterp.featurevis.transforms.roll import roll
from jaxinterp.featurevis.transforms.rotate import rotate
from jaxinterp.featurevis.transforms.scale import scale
from jaxinterp.featurevis.transforms.transform import Transform, compose
from tests.compiled import compiled
from tests.few import few
from tests.oracles import warps

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
SHAPES = [(7, 7, 3), (5, 8, 1), (9, 6, 7)]
DTYPES = list(zip(SHAPES, [jnp.bfloat16, jnp.float32, jnp.float64], strict=True))


def picture(shape, dtype=np.float64):
    return jnp.asarray(RNG.uniform(size=shape), dtype)


def seen_by(transform, image, key=KEY):
    """What a transform shows of an image, in one program."""
    return compiled(transform)(key, image)


def view_and_gradient(transform, image, upstream):
    """What a transform shows of an image, and the gradient, in one program."""

    def run(image, upstream):
        seen, pull_back = jax.vjp(lambda x: transform(KEY, x), image)
        return seen, pull_back(upstream)[0]

    return compiled(run)(image, jnp.asarray(upstream))


def one_by_one(transforms, key, image):
    for i, transform in enumerate(transforms):
        image = transform(jax.random.fold_in(key, i), image)
    return image


def primitives(jaxpr):
    """The primitives of a program and of what it calls."""
    for equation in jaxpr.eqns:
        yield equation.primitive
        for parameter in jax.tree.leaves(
            list(equation.params.values()),
            is_leaf=lambda leaf: hasattr(leaf, "eqns") or hasattr(leaf, "jaxpr"),
        ):
            inner = getattr(parameter, "jaxpr", parameter)
            if hasattr(inner, "eqns"):
                yield from primitives(inner)


IDENTITIES = {
    "pad": pad(0),
    "jitter": jitter(0),
    "scale": scale(1.0),
    "rotate": rotate(0.0),
    "crop_or_pad": crop_or_pad(),
    "flip": flip(probability=0.0),
    "blur": blur(0.0),
    "noise": noise(),
    "roll": roll(0),
    "nothing": compose([]),
    "reflect": rotate(0.0, fill="reflect"),
    "edge": scale(1.0, 1.0, fill="edge"),
    "random": rotate(choices=[0.0, 360.0, -720.0], fill="random"),
    "there and back": compose([pad(3), scale(1.0), rotate(0.0), crop_or_pad()]),
}


@pytest.mark.parametrize(("i", "name"), list(enumerate(IDENTITIES)))
def test_what_changes_nothing_returns_the_image_bit_for_bit(i, name, strict_promotion):
    shape, dtype = DTYPES[i % 3]
    image = picture(shape, dtype)
    seen = seen_by(IDENTITIES[name], image)
    assert seen.dtype == dtype
    np.testing.assert_array_equal(seen, image)


@pytest.mark.parametrize(("shape", "dtype"), DTYPES)
def test_jitter_is_one_of_the_slices_each_as_often(shape, dtype):
    image, d = picture(shape, dtype), 2
    keys = jax.random.split(KEY, 450)
    seen = np.asarray(compiled(jax.vmap(jitter(d), (0, None)))(keys, image))
    image = np.asarray(image)
    height, width = shape[0] - d, shape[1] - d
    counts = [
        (seen == image[i : i + height, j : j + width]).all((1, 2, 3)).sum()
        for i, j in itertools.product(range(d + 1), repeat=2)
    ]
    assert sum(counts) == 450
    assert min(counts) > 25  # 50 are expected, and 6.7 the standard deviation


def test_a_crop_is_a_slice():
    image = np.asarray(picture((9, 6, 3)))
    seen = np.asarray(seen_by(crop((4, 5)), jnp.asarray(image)))
    slices = [image[i : i + 4, j : j + 5] for i in range(6) for j in range(2)]
    assert sum(bool((seen == one).all()) for one in slices) == 1


@pytest.mark.parametrize(
    ("side", "turns", "dtype"),
    [
        (7, 1, jnp.float32),
        (8, 2, jnp.float64),
        (8, -1, jnp.float64),
        (8, 5, jnp.float64),
        (7, 2, jnp.float32),
        *[
            pytest.param(*case, marks=pytest.mark.slow(reason="more of the same turns"))
            for case in [
                (7, -1, jnp.float32),
                (7, 5, jnp.float32),
                (8, 1, jnp.float64),
            ]
        ],
    ],
)
def test_a_quarter_turn_is_that_of_numpy(side, turns, dtype):
    image = picture((side, side, 3), dtype)
    for transform in (rotate(90.0 * turns), rotate(choices=[90.0 * turns])):
        np.testing.assert_array_equal(seen_by(transform, image), np.rot90(image, turns))


@pytest.mark.parametrize("axis", [0, 1])
def test_a_flip_is_the_mirror_image_half_of_the_time(axis):
    image = picture((5, 8, 2))
    keys = jax.random.split(KEY, 200)
    seen = np.asarray(compiled(jax.vmap(flip(axis), (0, None)))(keys, image))
    mirrored = (seen == np.flip(np.asarray(image), axis)).all((1, 2, 3))
    assert 70 < mirrored.sum() < 130
    np.testing.assert_array_equal(seen[~mirrored][0], image)


FILLS = [((7, 7, 3), 0.5), ((5, 8, 1), "edge"), ((9, 6, 7), 0.0)]
FILLS += [((6, 9, 2), "reflect")]
VIEWS = [
    (lambda fill: rotate(30.0, fill=fill), lambda s: warps.rotated(s, 30)),
    (lambda fill: scale(1.3, fill=fill), lambda s: warps.zoomed(s, 1.3)),
    (lambda fill: rotate(-100.0, fill=fill), lambda s: warps.rotated(s, -100)),
    (lambda fill: scale(0.6, fill=fill), lambda s: warps.zoomed(s, 0.6)),
    (lambda fill: scale(7.0, fill=fill), lambda s: warps.zoomed(s, 7.0)),
    (lambda fill: scale(0.2, fill=fill), lambda s: warps.zoomed(s, 0.2)),
]
others = pytest.mark.slow(reason="each view and each border is in another pair")


@pytest.mark.parametrize(
    ("make", "textbook", "shape", "fill"),
    [
        pytest.param(*view, *fill, marks=[others] if (i + j) % 2 else [])
        for i, view in enumerate(VIEWS)
        for j, fill in enumerate(FILLS)
    ],
)
def test_a_view_and_its_gradient_are_those_of_slow_loops(make, textbook, fill, shape):
    image, size = picture(shape), shape[:2]
    upstream = RNG.normal(size=shape)
    seen, gradient = view_and_gradient(make(fill), image, upstream)
    place = textbook(size)
    expected = warps.view(np.asarray(image), place, size, fill)
    np.testing.assert_allclose(seen, expected, atol=1e-12)
    expected = warps.view_gradient(upstream, place, shape, fill)
    np.testing.assert_allclose(gradient, expected, atol=1e-11)


@pytest.mark.parametrize(
    "shape", few([(shape,) for shape in SHAPES], 1, reason="the same loops, longer")
)
def test_a_composition_and_its_gradient_are_those_of_slow_loops(shape):
    size, wide = shape[:2], (shape[0] + 16, shape[1] + 16)
    mirror = flip(probability=1.0)
    shaken = compose([pad(8), scale(1.2), rotate(25.0), mirror, crop_or_pad()])
    place = warps.chain(
        warps.shifted(-8, -8),
        warps.zoomed(wide, 1.2),
        warps.rotated(wide, 25),
        lambda i, j: (i, wide[1] - 1 - j),
        warps.shifted(8, 8),
    )
    image = picture(shape)
    upstream = RNG.normal(size=shape)
    seen, gradient = view_and_gradient(shaken, image, upstream)
    expected = warps.view(np.asarray(image), place, size)
    np.testing.assert_allclose(seen, expected, atol=1e-12)
    expected = warps.view_gradient(upstream, place, shape)
    np.testing.assert_allclose(gradient, expected, atol=1e-12)


@pytest.mark.slow(reason="compares 18,000 pixels with slow loops")
def test_single_precision_is_close_for_large_pictures():
    image = picture((120, 151, 1), jnp.float32)
    transform = compose([pad(12), scale(1.07), rotate(9.0), crop_or_pad()])

    def squares(x):
        seen = transform(KEY, x)
        return (seen**2).sum(), seen

    run = compiled(jax.grad(squares, has_aux=True))
    gradient, seen = run(image)
    exact_gradient, exact = run(image.astype(jnp.float64))
    np.testing.assert_allclose(seen, exact, atol=1e-4)
    np.testing.assert_allclose(gradient, exact_gradient, atol=5e-4)


@pytest.mark.parametrize("stretch", few([2.0, 1.0], 1, reason="with more taps"))
def test_collecting_is_the_transpose_of_looking(stretch):
    image, upstream = picture((8, 11, 2)), picture((20, 22, 2))
    linear = jnp.array([[0.9, -0.4], [0.3, 1.1]]) / stretch
    reach = float(jnp.abs(jnp.linalg.inv(linear)).sum(1).max())
    move = warp.Move(linear, jnp.array([0.3, -1.2]))
    places = warp.carry(move, warp.grid((20, 22), image.dtype))
    _, pull_back = jax.vjp(lambda x: warp.interpolate(x, places), image)
    taps = int(np.ceil(2 * reach))
    collect = jax.jit(warp._collect, static_argnums=(2, 3))
    collected = collect(upstream, move, (8, 11), taps)
    np.testing.assert_allclose(collected, pull_back(upstream)[0], atol=1e-12)
    missing = collect(upstream, move, (8, 11), taps // 2)
    assert not np.allclose(missing, pull_back(upstream)[0])


@pytest.mark.parametrize(
    ("shape", "transforms"),
    few(
        [
            ((7, 7, 3), [pad(3), jitter(2), jitter(4)]),
            ((5, 8, 1), [jitter(3), crop_or_pad((10, 4)), flip(), pad(1, fill=0.25)]),
            (
                (9, 6, 7),
                [crop_or_pad((8, 5)), rotate(180.0), pad(2, fill="edge"), crop(4)],
            ),
            ((5, 8, 2), [crop(3), pad(1, fill="reflect"), jitter(1), pad(2, fill=0.0)]),
            (
                (9, 6, 3),
                [pad(2, fill="random"), jitter(3), pad(1, fill="random"), flip(0)],
            ),
            ((6, 6, 1), [pad(1), noise(0.1), jitter(1), lambda key, x: x**2, pad(1)]),
        ],
        1,
        reason="other moves and borders, each alone in other tests",
    ),
)
def test_whole_shifts_are_the_same_joined_and_one_by_one(transforms, shape):
    image = picture(shape)
    keys = jax.random.split(KEY, 5)

    def both(function):
        def several(x):
            return jax.vmap(lambda key: function(key, x))(keys)

        seen, pull_back = jax.vjp(several, image)
        rng = np.random.default_rng(1)
        return seen, pull_back(jnp.asarray(rng.normal(size=seen.shape)))[0]

    joined, gradient = compiled(lambda: both(compose(transforms)))()
    separate, expected = compiled(
        lambda: both(functools.partial(one_by_one, transforms))
    )()
    np.testing.assert_array_equal(joined, separate)
    np.testing.assert_allclose(gradient, expected, atol=1e-13)


def test_what_was_cropped_does_not_come_back():
    image = picture((6, 6, 1))
    seen = seen_by(compose([crop_or_pad(2), crop_or_pad()]), image)
    expected = np.full((6, 6, 1), 0.5)
    expected[2:4, 2:4] = image[2:4, 2:4]
    np.testing.assert_array_equal(seen, expected)


def test_turns_add_up_and_are_interpolated_once():
    image = picture((15, 15, 3))
    inside = slice(5, 10)

    def middle(*turns):
        return np.asarray(seen_by(compose(turns), image))[inside, inside]

    joined, at_once = middle(rotate(20.0), rotate(25.0)), middle(rotate(45.0))
    np.testing.assert_allclose(joined, at_once, atol=1e-12)
    back = middle(rotate(20.0), rotate(-20.0))
    np.testing.assert_allclose(back, np.asarray(image)[inside, inside], atol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 9])
def test_however_many_are_composed_there_is_one_gather_of_four_corners(count):
    turns = [rotate(-10.0, 10.0), scale(0.9, 1.1), pad(1)] * 3
    shaken = compose(turns[:count])
    image = jnp.zeros((8, 8, 3), jnp.float32)
    found = list(primitives(jax.make_jaxpr(shaken)(KEY, image).jaxpr))
    assert found.count(lax.gather_p) == 4


def test_the_gradient_does_not_scatter():
    shaken = compose([pad(4), jitter(2), scale(0.9, 1.1), rotate(-10.0, 10.0)])
    gradient = jax.grad(lambda x: shaken(KEY, x).sum())
    image = jnp.zeros((8, 8, 3), jnp.float32)
    found = set(primitives(jax.make_jaxpr(gradient)(image).jaxpr))
    assert lax.gather_p in found
    assert lax.scatter_add_p not in found
    assert lax.scatter_p not in found


@pytest.mark.parametrize(
    ("transform", "size", "out"),
    [
        (rotate(-10.0, 10.0), (9, 7), (9, 7)),
        (rotate(-100.0, 80.0), (9, 7), (9, 7)),
        (rotate(choices=[0.0, 90.0, 170.0]), (9, 7), (9, 7)),
        (scale(0.5, 2.5), (9, 7), (9, 7)),
        (flip(), (9, 7), (9, 7)),
        (box_crop((20, 4), sides=(0.06, 0.06)), (9, 7), (20, 4)),
    ],
)
def test_the_stretch_is_a_tight_bound(transform, size, out):
    def found(key):
        linear = transform.draw(key, size, out, jnp.float64).linear
        return jnp.abs(jnp.linalg.inv(linear)).sum(1).max()

    largest = compiled(jax.vmap(found))(jax.random.split(KEY, 300)).max()
    bound = transform.stretch(size, out)
    assert 0.97 * bound < largest <= bound + 1e-9


@pytest.mark.parametrize("size", [(5, 8), (8, 5), (6, 6), (11, 2)])
def test_crop_or_pad_shows_the_middle_and_undoes_itself(size):
    image = picture((7, 6, 2))
    seen = seen_by(crop_or_pad(size), image)
    assert seen.shape == (*size, 2)
    rows, columns = (
        slice(max((n - m) // 2, 0), max((n - m) // 2, 0) + min(n, m))
        for n, m in zip((7, 6), size, strict=True)
    )
    back = np.asarray(seen_by(crop_or_pad((7, 6)), seen))
    image = np.asarray(image)
    np.testing.assert_array_equal(back[rows, columns], image[rows, columns])
    wide = np.pad(image, ((3, 3), (3, 3), (0, 0)), constant_values=0.5)
    slices = (
        wide[i : i + size[0], j : j + size[1]] for i in range(9) for j in range(9)
    )
    if max(size) <= 8:
        assert any(np.array_equal(seen, one) for one in slices)


def test_a_random_color_is_one_color_and_new_each_time():
    image = jnp.zeros((3, 3, 4), jnp.float32)
    keys = jax.random.split(KEY, 50)
    paint = pad(1, fill="random")
    seen = np.asarray(compiled(jax.vmap(paint, (0, None)))(keys, image))
    corners = seen[:, 0, 0]
    np.testing.assert_array_equal(seen[:, 4, 2], corners)
    assert len(np.unique(corners)) == 200
    assert corners.min() > 0
    assert corners.max() < 1
    np.testing.assert_array_equal(seen[:, 1:-1, 1:-1], 0)


def test_every_image_of_a_batch_has_a_view_of_its_own():
    images = jnp.broadcast_to(picture((9, 9, 3), np.float32), (6, 9, 9, 3))
    keys = jax.random.split(KEY, 6)
    turn = rotate(-20.0, 20.0)
    shaken = compose([jitter(2), turn, blur(0.5, 1.0), noise(0.1)])
    seen = compiled(jax.vmap(shaken))(keys, images)
    one = compiled(shaken)
    alone = np.stack([one(*pair) for pair in zip(keys, images, strict=True)])
    np.testing.assert_allclose(seen, alone, atol=1e-6)
    assert len(np.unique(np.asarray(seen[:, 4, 4, 0]))) == 6


@pytest.mark.parametrize(
    "dtype", few([jnp.bfloat16, jnp.float32], 1, reason="less can fail")
)
def test_the_dtype_is_kept_and_the_places_are_precise(dtype, strict_promotion):
    image = picture((40, 33, 3)).astype(dtype)
    paint = pad(2, fill="random")
    shaken = compose([paint, rotate(7.0), scale(0.9), blur(1.0)])
    seen = seen_by(shaken, image)
    assert seen.dtype == dtype
    exact = np.asarray(seen_by(shaken, image.astype(jnp.float64)))
    tolerance = 1e-5 + 2 * float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(np.asarray(seen, np.float64), exact, atol=tolerance)
    slope = jax.grad(lambda x: shaken(KEY, x).astype(jnp.float32).sum())
    assert jax.eval_shape(slope, image).dtype == dtype


def test_nested_compositions_are_one():
    parts = [pad(2), jitter(1), rotate(-5.0, 5.0), noise(0.1), crop_or_pad()]
    nested = compose([parts[0], compose([parts[1], compose(parts[2:4])]), parts[4]])
    assert nested == compose(parts)
    image = picture((6, 7, 3))
    np.testing.assert_array_equal(
        seen_by(nested, image), seen_by(compose(parts), image)
    )


def test_a_transform_is_a_value():
    assert hash(compose([pad(2), scale(choices=[1.0, 2.0])])) == hash(
        compose([pad(2), scale(choices=(1.0, 2.0))])
    )
    assert rotate(1.0) != rotate(2.0)
    transform: Transform = noise(0.1)
    assert transform.at(0.5) is transform


def normal(key):
    return 1 + 0.1 * jax.random.normal(key)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float64])
def test_factors_and_angles_of_any_distribution(dtype):
    keys = jax.random.split(KEY, 200)
    for make in (scale, rotate):
        transform = make(0.9, 1.2, distribution=normal)
        number = transform.factor if make is scale else transform.angle
        found = compiled(jax.vmap(lambda key: number.draw(key, dtype)))(keys)  # noqa: B023
        assert found.dtype == dtype
        wanted = np.clip(compiled(jax.vmap(normal))(keys), 0.9, 1.2)
        atol = float(jnp.finfo(dtype).eps)
        np.testing.assert_allclose(np.asarray(found, np.float64), wanted, atol=atol)
    # Its bounds are those of the range, which the warp goes by.
    zoom = scale(0.9, 1.2, distribution=normal)
    assert zoom.stretch((9, 9), (9, 9)) == 1.2
    image = jax.ShapeDtypeStruct((9, 7, 3), dtype)
    assert jax.eval_shape(compose([zoom, jitter(2)]), KEY, image).shape == (7, 5, 3)
    assert hash(zoom) == hash(scale(0.9, 1.2, distribution=normal))


class Unhashable:
    """Equal to others by a rule of its own, and so without a hash."""

    def __eq__(self, other):
        return False

    def __call__(self, key):
        return normal(key)


def test_a_distribution_need_not_be_hashable():
    draw = Unhashable()
    zoom = scale(0.9, 1.2, distribution=draw)
    assert zoom == scale(0.9, 1.2, distribution=draw)
    assert hash(zoom) == hash(scale(0.9, 1.2, distribution=draw))
    image = picture((9, 7, 3))
    same = seen_by(scale(0.9, 1.2, distribution=normal), image)
    np.testing.assert_array_equal(seen_by(zoom, image), same)


@pytest.mark.parametrize(
    ("distribution", "message"),
    [
        (1.0, r"one float, .*; 1\.0 was given"),
        (lambda key: jax.random.normal(key, (2,)), r"returns float\d+\[2\] was"),
        (
            lambda key: jax.random.randint(key, (), 0, 3),
            r"returns int\d\d\[\] was given",
        ),
        (lambda key: (0.5, 0.5), r"was given"),
        (lambda: 1.0, r"a call of it failed: .*positional argument"),
    ],
)
def test_distributions_that_are_none(distribution, message):
    with pytest.raises(TypeError, match=r"scale\(distribution=.*" + message):
        scale(0.9, 1.2, distribution=distribution)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pad(-1), "pad: `width` must be an integer of at least 0, and is -1"),
        (lambda: jitter(-2), "jitter: `pixels` must be an integer of at least 0"),
        (lambda: crop(0), r"crop\(\) takes a size in pixels, .* given 0"),
        (lambda: crop_or_pad((3, 0)), r"crop_or_pad\(\) takes a size in pixels"),
        (lambda: box_crop((3, 0)), r"box_crop\(\) takes a size in pixels"),
        (lambda: box_crop(3, sides=(0.5, 1.5)), r"shares of the image's side"),
        (lambda: box_crop(3, deviation=-0.1), r"deviation=-0.1"),
        (lambda: scale(0.0), r"scale\(\) takes finite numbers above 0, .* given 0.0"),
        (lambda: scale(choices=[1.0, -1.0]), r"finite numbers above 0, .* given -1.0"),
        (lambda: scale(), r"a range or a list, `scale\(1.0, 2.0\)`"),
        (lambda: scale(1.0, choices=[1.0]), r"a range or a list"),
        (lambda: scale(high=1.0), r"a range or a list"),
        (lambda: scale(high=1.0, choices=[1.0]), r"a range or a list"),
        (lambda: scale(choices=[]), r"nothing to choose from"),
        (lambda: rotate(5.0, -5.0), r"nothing to choose from: low=5.0, high=-5.0"),
        (lambda: rotate(float("nan")), r"rotate\(\) takes finite numbers, .* nan"),
        (lambda: flip(-1), r"flip: `axis` must be an integer of at least 0"),
        (lambda: flip(2)(KEY, jnp.zeros((9, 6, 3))), r"flip\(2\) .* `flip\(1\)`"),
        (lambda: flip()(KEY, jnp.zeros((9, 3))), r"size \(9,\) .* `flip\(0\)`"),
        (lambda: crop((3, 3))(KEY, jnp.zeros((9, 3))), r"2 axes .* one of 1: \(9,\)"),
        (lambda: rotate(5.0)(KEY, jnp.zeros((9, 3))), r"turns one image"),
        (
            lambda: rotate(5.0)(KEY, jnp.zeros((2, 9, 6, 3))),
            r"(?s)3 axes .*\(2, 9, 6\).*jax.vmap\(transform\)",
        ),
        (
            lambda: rotate(5.0, axes=(0, 3))(KEY, jnp.zeros((9, 6, 3, 1))),
            r"rotate\(axes=\(0, 3\)\) .* does not have these axes: \(9, 6, 3\)",
        ),
        (
            lambda: rotate(5.0, axes=(0, 1))(KEY, jnp.zeros((2, 9, 6, 3, 1))),
            r"images and volumes, of two axes or three .* given 4",
        ),
        (lambda: rotate(5.0, axes=(1, 1)), r"two axes, and not one"),
        (
            lambda: rotate(5.0, axes=(-2, -1)),
            r"from 0, `axes=\(0, 1\)`; \(-2, -1\) was",
        ),
        (lambda: rotate(5.0, axes=1), r"two axes, a tuple .* 1 was given"),
        (lambda: flip(probability=1.5), r"flip: `probability` must .* is 1.5"),
        (lambda: flip(probability="a"), r"flip: `probability` must .* is 'a'"),
        (lambda: flip(probability=True), r"flip: `probability` must .* is True"),
        (
            lambda: flip(probability=np.array(0.5)),
            r"`probability` must .* is array\(0.5\)",
        ),
        (lambda: box_crop(3, sides=0.5), r"sides=0.5"),
        (lambda: box_crop(3, deviation=None), r"deviation=None"),
        (lambda: box_crop(3, spread=np.array(0.2)), r"spread=array\(0.2\)"),
        (lambda: pad(1, fill=np.ones(3)), r"fill=array"),
        (lambda: pad(1, fill=True), r"fill=True"),
        (lambda: scale(choices=1.0), r"a range or a list"),
        (lambda: scale(1.0, distribution=normal), r"Write its ends"),
        (lambda: scale(distribution=normal), r"Write its ends"),
        (lambda: scale(choices=[1.0], distribution=normal), r"and no choices"),
        (lambda: scale(1, 2, choices=[1.0], distribution=normal), r"and no choices"),
        (lambda: scale(True), r"finite numbers above 0, .* given True"),
        (lambda: pad(1)(KEY, jnp.zeros((0, 6, 3))), r"none of length 0; .*\[0, 6, 3\]"),
        (lambda: pad(1)(KEY, jnp.zeros((3, 0))), r"none of length 0"),
        (lambda: pad(1, fill=float("nan")), r"'edge', 'reflect' or 'random'; fill=nan"),
        (lambda: blur(-1.0, 1.0), r"standard deviations from 0: -1.0 is less"),
        (lambda: blur(), r"a range or a list, `blur\(1.0, 2.0\)`"),
        (lambda: noise(-0.1), r"normal=-0.1 and uniform=0.0"),
        (lambda: noise(0.1, uniform=float("inf")), r"uniform=inf"),
        (
            lambda: roll(-1),
            "roll: `pixels` must be an integer of at least 0",
        ),
        (lambda: jitter(6)(KEY, jnp.zeros((9, 6, 3))), r"jitter\(6\) is too large"),
        (lambda: crop((3, 7))(KEY, jnp.zeros((9, 6, 3))), r"\(3, 7\)\) is too large"),
        (lambda: crop(7)(KEY, jnp.zeros((9, 6, 3))), r"`pad\(\.\.\.\)` before it"),
        (
            lambda: compose([pad(2), jitter(4), jitter(6)])(KEY, jnp.zeros((9, 6, 3))),
            r"jitter\(6\) is too large for an image of size \(9, 6\)",
        ),
        (lambda: pad(1)(KEY, jnp.zeros(9)), r"float64\[9\] was given"),
        (lambda: pad(1)(KEY, jnp.zeros((9, 6, 3), int)), r"int64\[9, 6, 3\] was given"),
    ],
)
def test_a_wrong_argument_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_what_is_no_transform_is_named():
    with pytest.raises(
        TypeError, match=r"such as `jitter\(4\)`.*Transform'> was given"
    ):
        compose([pad(1), Transform])
    with pytest.raises(TypeError, match=r"takes a list of transforms, `compose\(\["):
        compose(pad(1))
