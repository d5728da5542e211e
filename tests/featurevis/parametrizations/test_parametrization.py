"""What every parametrization promises, asked of all of them in one table."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax

from jaxinterp.featurevis.parametrizations.ball import ball
from jaxinterp.featurevis.parametrizations.cppn import cppn
from jaxinterp.featurevis.parametrizations.fourier import fourier
from jaxinterp.featurevis.parametrizations.from_image import from_image
from jaxinterp.featurevis.parametrizations.frozen import frozen
from jaxinterp.featurevis.parametrizations.generator import generator
from jaxinterp.featurevis.parametrizations.maco import fit_spectrum, maco
from jaxinterp.featurevis.parametrizations.parametrization import (
    Parametrization,
    PerImage,
)
from jaxinterp.featurevis.parametrizations.pixels import pixels
from jaxinterp.featurevis.parametrizations.pyramid import pyramid
from jaxinterp.featurevis.parametrizations.shared import shared
from jaxinterp.featurevis.parametrizations.stacked import stacked
from jaxinterp.featurevis.parametrizations.with_alpha import with_alpha
from tests.compiled import compiled, optimized
from tests.few import few

KEY = jax.random.key(0)
HALF_STEP = 1 / 510  # how far black and white move in an inverse of a sigmoid


def target_of(shape):
    """An image with an edge, a slope and waves, different in each channel."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    height, width, channels = shape
    waves = 0.5 + 0.35 * np.sin(x / 3) * np.cos(y / 4)
    disc = 0.25 + 0.5 * ((x - width / 2) ** 2 + (y - height / 2) ** 2 < width * 2)
    kinds = [waves, disc, 0.1 + 0.8 * y / height]
    planes = [np.roll(kinds[c % 3], c // 3, axis=1) for c in range(channels)]
    return np.stack(planes, axis=-1).astype(np.float32)


def own_spectrum(shape, dtype, louder=1.0):
    spectrum = louder * fit_spectrum(target_of(shape)[None])
    return maco(shape, spectrum=spectrum, masked=louder > 1, dtype=dtype)


def small_generator(shape, dtype):
    """A generator whose latents are as many as its pixels."""
    size = int(np.prod(shape))

    def apply_fn(variables, latents):
        drawn = jnp.tanh(variables["gain"] * latents)
        return drawn.reshape(len(latents), *shape)

    return generator(apply_fn, {"gain": jnp.ones(size, dtype)[None]}, size, dtype=dtype)


def around_gray(shape, dtype):
    return ball(np.full(shape, 0.5, np.float32), 0.5, dtype=dtype, scale=0.1)


def transparent(shape, dtype):
    *spatial, channels = shape
    if channels == 1:
        pytest.skip("one channel leaves none for the image")
    return with_alpha(fourier((*spatial, channels - 1), dtype=dtype))


def started(shape, dtype):
    return from_image(fourier(shape, dtype=dtype), target_of(shape), noise=1.0)


def held(shape, dtype):
    where = jnp.arange(shape[0])[:, None, None] < 2
    return frozen(pixels(shape, dtype=dtype), target_of(shape), where)


TABLE = {
    "pixels": lambda shape, dtype: pixels(shape, dtype=dtype),
    "clipped": lambda shape, dtype: fourier(shape, squash="clip", dtype=dtype),
    "fourier": lambda shape, dtype: fourier(shape, dtype=dtype),
    "pyramid": lambda shape, dtype: pyramid(shape, dtype=dtype),
    "shared": lambda shape, dtype: shared(fourier(shape, dtype=dtype)),
    "maco": own_spectrum,
    "masked": lambda shape, dtype: own_spectrum(shape, dtype, louder=2.0),
    "cppn": lambda shape, dtype: cppn(shape, dtype=dtype),
    "generator": small_generator,
    "ball": around_gray,
    "with_alpha": transparent,
    "from_image": started,
    "frozen": held,
    "stacked": lambda shape, dtype: stacked([fourier(shape, dtype=dtype)] * 2),
}
WITHOUT_INVERSE = {"cppn", "generator"}
INVERTIBLE = sorted(set(TABLE) - WITHOUT_INVERSE)

# What each of these adds to the one that it is made of is tested by itself.
DERIVED = {
    "clipped",
    "shared",
    "masked",
    "with_alpha",
    "from_image",
    "frozen",
    "stacked",
}
COSTLY = {"cppn", "pyramid"}
again = pytest.mark.slow(reason="asks what is made of others what these answered")
costly = pytest.mark.slow(reason="programs of three seconds")
many = pytest.mark.slow(reason="takes 1000 steps")

every = pytest.mark.parametrize("name", TABLE)


def slow_again(name):
    """The mark of a name in all tests but the first."""
    return [again] * (name in DERIVED) + [costly] * (name in COSTLY)


every_but_derived = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=slow_again(name)) for name in TABLE]
)


def every_case(names, cases):
    """Each name with each case; costly ones have the first by default."""
    return [
        pytest.param(name, *case, marks=slow_again(name) if i else [])
        for i, case in enumerate(cases)
        for name in names
    ]


@functools.cache
def made(name, shape=(9, 7, 3), dtype=jnp.float32):
    return TABLE[name](shape, dtype)


@functools.cache
def programs(name, shape=(9, 7, 3), dtype=jnp.float32):
    """The functions `init` and `images`, compiled once for all tests."""
    parametrization = made(name, shape, dtype)
    init = compiled(parametrization.init, static_argnums=1)
    return init, compiled(parametrization.images)


def test_no_parametrization_is_missing_from_the_table():
    def below(cls):
        return {cls}.union(*(below(c) for c in cls.__subclasses__()))

    ours = {c for c in below(Parametrization) if c.__module__.startswith("jaxinterp")}
    made_here = {type(made(name)) for name in TABLE}
    bases = {Parametrization, PerImage, type(made("pixels")).__mro__[1]}
    assert ours - bases == made_here


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[many] if name in DERIVED | COSTLY else [])
        for name in TABLE
    ],
)
def test_it_fits_a_picture(name):
    target = target_of((24, 20, 3))
    parametrization = made(name, target.shape)
    # At a constant rate the weights of a network jitter: 1 of 10 seeds ends above 0.01.
    falling = optax.cosine_decay_schedule(0.005, 1000)
    optimizer = optax.adam(falling if name == "cppn" else 0.05)
    params = programs(name, target.shape)[0](KEY, 3)

    def loss(params):
        return jnp.mean((parametrization.images(params) - target[None]) ** 2)

    def step(carry, _):
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    start = (params, optimizer.init(params))
    run = jax.jit(functools.partial(lax.scan, step, xs=None, length=1000))
    (params, _), _ = run(start)
    images = programs(name, target.shape)[1](params)
    distances = jnp.abs(images - target[None]).mean(axis=(1, 2, 3))
    assert (distances < 0.01).all(), distances


@pytest.mark.parametrize(
    ("name", "shape", "dtype"),
    every_case(
        TABLE,
        [
            ((9, 7, 3), jnp.float32),
            ((9, 7, 3), jnp.bfloat16),
            ((8, 5, 1), jnp.float64),
            ((6, 10, 7), jnp.float32),
        ],
    ),
)
def test_pictures_have_shape_dtype_and_range(name, shape, dtype):
    init, draw = programs(name, shape, dtype)
    params = init(KEY, 2)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(dtype)}
    large = jax.tree.map(lambda leaf: 100 * leaf, params)
    for given in (params, large):
        images = draw(given)
        assert images.shape == (2, *shape) == (2, *made(name, shape, dtype).shape)
        assert images.dtype == dtype
        assert ((images >= 0) & (images <= 1)).all()


@every_but_derived
def test_half_precision_has_a_gradient(name):
    parametrization = made(name, dtype=jnp.bfloat16)

    def total(params):
        return (parametrization.images(params) ** 2).astype(jnp.float32).sum()

    params = programs(name, dtype=jnp.bfloat16)[0](KEY, 2)
    gradients = jax.tree.leaves(compiled(jax.grad(total))(params))
    assert all(jnp.isfinite(g).all() and g.dtype == jnp.bfloat16 for g in gradients)
    assert any((g != 0).any() for g in gradients)


@every_but_derived
def test_a_picture_does_not_depend_on_the_number_of_pictures(name):
    init, draw = programs(name)
    few, many = (draw(init(KEY, count)) for count in (2, 5))
    np.testing.assert_array_equal(few, many[:2])


@every
def test_pictures_of_a_group_start_differently(name):
    init, _ = programs(name)
    params = init(KEY, 2)
    leaves = jax.tree.leaves(params["own"] if name == "shared" else params)
    leaves = [jnp.concatenate(params)] if name == "stacked" else leaves
    assert any((leaf[0] != leaf[1]).any() for leaf in leaves)
    other = jax.tree.leaves(init(jax.random.key(1), 2))
    pairs = zip(jax.tree.leaves(params), other, strict=True)
    assert any((a != b).any() for a, b in pairs)


@every_but_derived
@pytest.mark.parametrize(
    ("shape", "atol"),
    [
        pytest.param((8, 8, 3), 0, id="even"),  # 64 values: whole vector registers
        pytest.param(
            (9, 7, 3),
            2**-22,  # two roundings of a value below 1
            id="odd",
            marks=pytest.mark.slow(reason="the same, rounded, with full optimization"),
        ),
    ],
)
def test_a_unit_does_not_depend_on_the_units_beside_it(name, shape, atol):
    """Bit for bit where vector registers are filled.

    XLA computes the values that are left over at the end of an array one by one, which
    may round the last bit otherwise, and units beside another move its end.
    """
    parametrization, (init, _) = made(name, shape), programs(name, shape)
    keys = jax.random.split(KEY, 3)
    draw = optimized(jax.vmap(parametrization.images))
    params = compiled(jax.vmap(lambda key: parametrization.init(key, 2)))(keys)
    together = draw(params)
    for i, key in enumerate(keys):
        alone = jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], params)
        np.testing.assert_allclose(together[i], draw(alone)[0], rtol=0, atol=atol)
        own = init(key, 2)
        jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[0], b), alone, own)


@every
def test_it_goes_through_transformations_as_an_argument(name):
    parametrization, (init, draw) = made(name), programs(name)
    params = init(KEY, 2)
    given = compiled(lambda p, params: p.images(params))(parametrization, params)
    np.testing.assert_allclose(given, draw(params), atol=2e-6)
    structure = jax.tree.structure(parametrization)
    assert structure == jax.tree.structure(jax.tree.map(lambda _: 0, parametrization))
    copy = structure.unflatten([object()] * structure.num_leaves)
    assert copy.shape == parametrization.shape


@every
def test_dtypes_are_never_mixed_implicitly(name, strict_promotion):
    for dtype in (jnp.float32, jnp.bfloat16):
        parametrization = made(name, dtype=dtype)
        params = jax.eval_shape(lambda p=parametrization: p.init(KEY, 2))
        slope = jax.grad(lambda q, p=parametrization: p.images(q).sum())
        for found, given in zip(
            jax.tree.leaves(jax.eval_shape(slope, params)),
            jax.tree.leaves(params),
            strict=True,
        ):
            assert found.dtype == given.dtype
        assert jax.eval_shape(parametrization.images, params).dtype == dtype


@pytest.mark.parametrize(
    ("name", "shape"),
    every_case(INVERTIBLE, [((9, 7, 3),), ((8, 5, 1),), ((6, 10, 7),)]),
)
def test_inverse_gives_the_image_back(name, shape):
    target = target_of(shape)
    target[-1, :2] = [[0.0], [1.0]]
    images = np.stack([target, target])
    if name in ("maco", "masked"):
        is_masked = name == "masked"
        spectrum = (1 + is_masked) * fit_spectrum(target[None])
        parametrization = maco(shape, spectrum=spectrum, masked=is_masked)
    else:
        parametrization = made(name, shape)
        images[1] = 1 - target[::-1]
        images[1][:2] = target[:2]  # what `held` holds
    params = compiled(parametrization.inverse)(images)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    start = jax.eval_shape(lambda: parametrization.init(KEY, 2))
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, start)
    again = compiled(parametrization.images)(params)
    np.testing.assert_allclose(again, images, atol=HALF_STEP + 1e-4)


@pytest.mark.parametrize("name", sorted(WITHOUT_INVERSE))
def test_what_cannot_start_from_an_image_says_so(name):
    parametrization = made(name)
    message = "cannot start from an image.*`pixels`, `fourier`, `pyramid` and `maco`"
    with pytest.raises(NotImplementedError, match=message):
        parametrization.inverse(jnp.zeros((1, *parametrization.shape)))
    with pytest.raises(NotImplementedError, match=message):
        from_image(parametrization, jnp.zeros(parametrization.shape))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            np.zeros((2, 7, 9, 3)),
            r"shape \(2, 7, 9, 3\).* of shape \(9, 7, 3\)",
        ),
        (np.zeros((9, 7, 3)), r"give \('count', 9, 7, 3\)"),
        (np.zeros((1, 9, 7, 3), np.uint8), "these are uint8.*images / 255"),
        (np.full((1, 9, 7, 3), 255.0), r"these are in \[255, 255\].*divide by 255"),
        (np.full((1, 9, 7, 3), -0.1), r"these are in \[-0.1, -0.1\]"),
        (np.full((1, 9, 7, 3), np.nan), "are not numbers"),
    ],
)
@pytest.mark.parametrize("name", sorted(set(INVERTIBLE) - {"from_image", "frozen"}))
def test_inverse_of_what_is_no_picture(name, images, message, unchecked):
    with pytest.raises(ValueError, match=message):
        made(name).inverse(jnp.asarray(images))


# --- From an image --------------------------------------------------------------------


def test_from_image_starts_at_the_image():
    target = target_of((9, 7, 3))
    parametrization = from_image(fourier(target.shape), target)
    images = parametrization.images(parametrization.init(KEY, 3))
    np.testing.assert_allclose(images, np.stack([target] * 3), atol=1e-4)


def test_from_image_adds_the_usual_noise_times_a_factor():
    target, inner = np.full((9, 7, 3), 0.5, np.float32), fourier((9, 7, 3))
    params = from_image(inner, target, noise=2.0).init(KEY, 3)
    np.testing.assert_allclose(params, 2 * inner.init(KEY, 3), atol=1e-6)
    for noise in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="from_image: `noise` must be a finite"):
            from_image(inner, target, noise=noise)


def test_from_image_takes_an_image_for_each_picture(unchecked):
    targets = np.stack([target_of((9, 7, 3)), 1 - target_of((9, 7, 3))])
    parametrization = from_image(pixels((9, 7, 3)), targets)
    images = parametrization.images(parametrization.init(KEY, 2))
    np.testing.assert_allclose(images, targets, atol=1e-4)
    with pytest.raises(ValueError, match="There are 2 images to start from, and 3 ima"):
        parametrization.init(KEY, 3)


@pytest.mark.parametrize("shape", [(7, 9, 3), (1, 1, 9, 7, 3), (7, 3)])
def test_from_image_of_another_shape(shape, unchecked):
    with pytest.raises(ValueError, match=r"makes \w+ of shape"):
        from_image(pixels((9, 7, 3)), np.zeros(shape))


# --- Frozen ---------------------------------------------------------------------------


def test_frozen_channels_stay_and_get_no_gradient():
    target = target_of((9, 7, 4))
    channels = jnp.array([True, True, True, False])
    parametrization = frozen(pixels((9, 7, 4)), target, channels)
    params = 1.0 + parametrization.init(KEY, 2)
    images = parametrization.images(params)
    np.testing.assert_array_equal(images[..., :3], np.stack([target[..., :3]] * 2))
    np.testing.assert_allclose(images[..., 3], jax.nn.sigmoid(params[..., 3]), 1e-6)
    gradient = jax.grad(lambda params: parametrization.images(params).sum())(params)
    assert (gradient[..., :3] == 0).all()
    assert (gradient[..., 3] != 0).all()


def test_a_frozen_region_stays():
    where = np.zeros((9, 7, 1), bool)
    where[:, :2] = True
    parametrization = frozen(fourier((9, 7, 3)), 0.25, where)
    images = parametrization.images(parametrization.init(KEY, 2))
    assert (images[:, :, :2] == 0.25).all()
    assert (images[:, :, 2:] != 0.25).all()


@pytest.mark.parametrize(
    ("image", "where", "error", "message"),
    [
        (0.5, np.ones(3), TypeError, r"made of booleans.*float.*array\(\[True, False"),
        (0.5, np.ones(7, bool), ValueError, r"`where` has shape \(7,\).*\(9, 7, 3\)"),
        (np.zeros((9, 3)), np.ones(3, bool), ValueError, r"`image` has shape \(9, 3\)"),
        (np.zeros((1, 9, 7, 3)), np.ones(3, bool), ValueError, "does not broadcast"),
        (2.0, np.ones(3, bool), ValueError, r"these are in \[2, 2\]"),
    ],
)
def test_what_cannot_be_frozen(image, where, error, message, unchecked):
    with pytest.raises(error, match=message):
        frozen(pixels((9, 7, 3)), image, where)


# --- Arguments that all have in common ------------------------------------------------


@pytest.mark.parametrize("make", [pixels, fourier, pyramid, maco, cppn])
@pytest.mark.parametrize("shape", [(), (8, 0, 3), (8, 8.5, 3), (-8, 8, 3)])
def test_shapes_that_are_none(make, shape, unchecked):
    with pytest.raises(ValueError, match=r"positive integers, such as \(128, 128, 3\)"):
        make(shape)


def near_black(shape):
    return ball(np.zeros(shape, np.float32), 0.5)


@pytest.mark.parametrize("make", [pixels, fourier, pyramid, maco, cppn, near_black])
def test_a_shape_has_no_axis_of_the_batch(make):
    with pytest.raises(
        ValueError, match=r"(?s)axis of the batch.* write \(28, 27, 3\)"
    ):
        make((1, 28, 27, 3))
    assert make((2, 8, 9, 3)).shape == (2, 8, 9, 3)  # a volume


@pytest.mark.parametrize(
    ("make", "shape", "message"),
    [
        (fourier, (3,), "2 to 4 axes"),
        (maco, (2, 2, 2, 2, 3), "2 to 4 axes"),
        (pyramid, (3,), "at least 2 of them"),
    ],
)
def test_shapes_of_too_few_or_many_axes(make, shape, message):
    with pytest.raises(ValueError, match=message):
        make(shape)


@pytest.mark.parametrize("make", [pixels, fourier, pyramid, maco, cppn])
def test_parameters_are_floats(make):
    with pytest.raises(TypeError, match=r"jnp.float32 or jnp.bfloat16, and was int8"):
        make((8, 8, 3), dtype=jnp.int8)


@pytest.mark.parametrize("make", [pixels, fourier, pyramid])
@pytest.mark.parametrize("scale", [-1.0, float("inf"), float("nan")])
def test_scales_of_noise_that_do_not_exist(make, scale):
    with pytest.raises(
        ValueError,
        match=f"`scale` must be .* of at least 0, and is {scale}",
    ):
        make((8, 8, 3), scale=scale)


@pytest.mark.parametrize(
    ("squash", "bare"),
    [
        ("stretch", lambda x: 1 / (1 + np.exp(-x))),
        ("clip_stretch", lambda x: np.clip(0.5 + x, 0, 1)),
    ],
)
def test_a_stretched_picture_has_the_whole_range(squash, bare):
    parametrization = pixels((6, 5, 3), squash=squash, scale=1.0, dtype=jnp.float64)
    params = parametrization.init(KEY, 2)
    images = parametrization.images(params)
    for image, low_contrast in zip(images, bare(np.asarray(params)), strict=True):
        low, high = low_contrast.min(), low_contrast.max()
        wanted = (low_contrast - low) / (high - low)
        np.testing.assert_allclose(image, wanted, atol=1e-13)
    inner = target_of((6, 5, 3))
    target = (inner - inner.min()) / np.ptp(inner) * (1 - 4 * HALF_STEP)
    found = parametrization.images(parametrization.inverse(jnp.asarray(target)[None]))[
        0
    ]
    np.testing.assert_allclose(found, target / target.max(), atol=3 * HALF_STEP)


@pytest.mark.parametrize(("squash", "scale"), [("stretch", 1.0), ("clip_stretch", 0.1)])
def test_the_gradient_goes_through_the_least_and_the_largest(squash, scale):
    # Nothing is clipped at this scale: else the gradient is not that of the image.
    parametrization = pixels((6, 5, 3), squash=squash, scale=scale, dtype=jnp.float64)
    params = parametrization.init(KEY, 1)
    flat = np.asarray(params).ravel()

    def cubes(x):
        return (parametrization.images(x.reshape(1, 6, 5, 3)) ** 3).sum()

    loss, slope = compiled(cubes), compiled(jax.grad(cubes))(flat)
    for i in (0, int(flat.argmin()), int(flat.argmax())):
        step = 1e-6 * np.eye(flat.size)[i]
        numeric = (loss(flat + step) - loss(flat - step)) / 2e-6
        np.testing.assert_allclose(slope[i], numeric, rtol=1e-5)


@pytest.mark.slow(reason="three programs, of which the pyramid's takes seconds")
def test_a_picture_of_one_gray_is_not_stretched_to_noise():
    for make in (pixels, fourier, pyramid):
        parametrization = make((16, 16, 3), squash="stretch")
        gray = from_image(parametrization, jnp.full((16, 16, 3), 0.25))

        def energy(params, gray=gray):
            images = gray.images(params)
            return (images**2).sum(), images

        params = gray.init(KEY, 1)
        slope, images = compiled(jax.grad(energy, has_aux=True))(params)
        np.testing.assert_allclose(images, 0.5, atol=1e-3)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))


@pytest.mark.parametrize("make", [pixels, fourier, pyramid, maco])
def test_a_squash_that_does_not_exist(make, unchecked):
    with pytest.raises(ValueError, match=r"`squash` is 'tanh'\. There are: 'sigmoid'"):
        make((8, 8, 3), squash="tanh")


def test_clipping_lets_the_gradient_through():
    parametrization = pixels((1, 1, 3), squash="clip")
    params = jnp.array([-2.0, 0.0, 2.0]).reshape(1, 1, 1, 3)
    assert parametrization.images(params).ravel().tolist() == [0.0, 0.5, 1.0]
    gradient = jax.grad(lambda params: parametrization.images(params).sum())(params)
    assert gradient.ravel().tolist() == [1.0, 1.0, 1.0]


# lucid adds (0.48, 0.46, 0.41) to decorrelated colors that no sigmoid follows.
@pytest.mark.parametrize(
    ("make", "color"),
    few(
        [
            *[(pixels, color) for color in ("imagenet", "i1i2i3", None, np.eye(3))],
            *[(make, "imagenet") for make in (fourier, pyramid)],
        ],
        4,
        reason="turns colors as `pixels` does",
    ),
)
def test_clipped_colors_start_from_their_mean(make, color):
    parametrization = make((8, 6, 3), color=color, squash="clip", scale=0.0)
    mean = [0.48, 0.46, 0.41] if isinstance(color, str) and color[1] == "m" else [0.5]
    start = parametrization.images(parametrization.init(KEY, 2))
    np.testing.assert_allclose(start, np.broadcast_to(mean, (2, 8, 6, 3)), rtol=1e-6)
    image = jnp.asarray(np.random.default_rng(0).random((1, 8, 6, 3), np.float32))
    back = parametrization.images(parametrization.inverse(image))
    np.testing.assert_allclose(back, image, atol=1e-5)


@pytest.mark.parametrize("shape", [(8, 6, 1), (8, 3), (4, 4, 4, 3)])
def test_what_is_no_color_picture_is_clipped_about_gray(shape):
    parametrization = fourier(shape, squash="clip", scale=0.0)
    start = parametrization.images(parametrization.init(KEY, 1))
    np.testing.assert_allclose(start, 0.5, rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_stretched_picture_does_not_leave_the_range(dtype):
    parametrization = fourier((16, 17, 3), squash="stretch", dtype=dtype)
    params = parametrization.init(KEY, 64)
    images = parametrization.images(jax.tree.map(lambda p: 3 * p, params))
    assert float(images.min()) >= 0
    assert float(images.max()) <= 1
