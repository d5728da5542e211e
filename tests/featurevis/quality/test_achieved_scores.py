"""What is achieved: each picture for its unit, with and without transforms."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp import featurevis as fv
from jaxinterp.featurevis.images import check_float_images
from jaxinterp.featurevis.quality.achieved_scores import (
    achieved_scores,
    beside_natural,
)
from tests.networks.images import NET, VARIABLES, noise, tanh_model

KEY = jax.random.key(5)


def plain(value: Any) -> np.ndarray:
    return np.asarray(value, np.float64)


def test_each_picture_is_scored_for_its_own_unit():
    images = noise(6)
    _, found = jax.jit(NET.apply, static_argnames="capture_intermediates")(
        VARIABLES, images, capture_intermediates=True
    )
    maps = np.maximum(found["intermediates"]["second"]["__call__"][0], 0)
    means = maps.mean(axis=(1, 2)).reshape(3, 2, 5)
    expected = np.stack([means[u, :, c] for u, c in enumerate((4, 0, 2))])
    scores = achieved_scores(
        NET.apply, fv.channel("relu_1", [4, 0, 2]), VARIABLES, images, count=2
    )
    assert scores.dtype == jnp.float32
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


@pytest.mark.slow(reason="eight programs; chunks are tested in `loop`")
def test_scores_do_not_depend_on_chunks_or_other_units_or_jit():
    images, w = noise(6), jax.random.normal(KEY, (3, 5), jnp.float32)
    options = {"count": 2, "transforms": [fv.roll(2), fv.noise(0.1)], "key": KEY}

    def score(channels: Any, images: Any, batch_size: int | None = None) -> Any:
        return achieved_scores(
            *(tanh_model, fv.channel("tanh", channels), w, images),
            samples=3,
            batch_size=batch_size,
            **options,
        )

    whole = score([4, 0, 2], images)
    np.testing.assert_allclose(score([4, 0, 2], images, 4), whole, rtol=1e-5)
    np.testing.assert_allclose(score([4, 0, 2], images, 3), whole, rtol=1e-5)
    np.testing.assert_allclose(score([2], images[4:]), whole[2:], rtol=1e-5)
    inner = jax.jit(lambda images: score([4, 0, 2], images, 2))(images)
    np.testing.assert_allclose(inner, whole, rtol=1e-5)


def test_transforms_change_what_is_seen_and_are_averaged_over():
    images = noise(2)
    objective = fv.channel("tanh", [0, 1])
    w = jnp.eye(3, dtype=jnp.float32)
    halved = achieved_scores(
        *(tanh_model, objective, w, images),
        transforms=[lambda key, image: image[:4, :5] / 2],
        key=KEY,
    )
    expected = [[np.tanh(plain(images)[i, :4, :5, i] / 2).mean()] for i in range(2)]
    np.testing.assert_allclose(halved, expected, rtol=1e-6)


def test_each_view_has_random_numbers_of_its_own():
    def random(key: Any, image: Any) -> Any:
        return jnp.full_like(image, jax.random.uniform(key))

    def score(samples: int) -> np.ndarray:
        return plain(
            achieved_scores(
                *(lambda w, x: jnp.arcsinh(x), fv.channel("asinh", [0, 0, 1])),
                *(None, noise(6)),
                count=2,
                transforms=[random],
                key=KEY,
                samples=samples,
            )
        )

    one = score(1)
    # The same channel twice is the same unit; everything else differs.
    np.testing.assert_array_equal(one[0], one[1])
    assert len(np.unique(one.round(6))) == 4
    many = score(400)
    # The mean of arcsinh on [0, 1] is arcsinh(1) - sqrt(2) + 1 = 0.467; its deviation
    # 0.26, that of 400 samples 0.013.
    np.testing.assert_allclose(many, 0.467, atol=0.06)
    assert np.abs(many - one).min() > 1e-6


def test_transforms_stand_at_the_end_of_the_optimization():
    scores = achieved_scores(
        *(tanh_model, "tanh:*", jnp.eye(3), noise(3, shape=(16, 16, 3))),
        transforms=[fv.maco_crops(16)],
        key=KEY,
        samples=2,
    )
    assert scores.shape == (3, 1)
    assert np.isfinite(scores).all()


def test_scores_of_bfloat16_are_float32():
    images = noise(5, dtype=jnp.bfloat16)
    variables = jax.tree.map(lambda a: a.astype(jnp.bfloat16), VARIABLES)
    scores = achieved_scores(NET.apply, "first:*", variables, images)
    exact = achieved_scores(NET.apply, "first:*", VARIABLES, noise(5))
    assert scores.dtype == jnp.float32
    # Eight bits, of sums of 27 products.
    np.testing.assert_allclose(scores, exact, atol=0.03)


def test_a_group_of_pictures_is_scored_together():
    images = noise(2, 3)
    score = functools.partial(
        achieved_scores, tanh_model, fv.diversity("tanh"), jnp.eye(3), count=3
    )
    apart = score(images[0])
    together = score(jnp.stack([images[0, 0]] * 3))
    np.testing.assert_allclose(together, -2.0, rtol=1e-5)
    assert (plain(apart) > plain(together)).all()


def test_the_second_call_compiles_nothing():
    traced = []

    def model(w: Any, x: Any) -> Any:
        traced.append(1)
        return jnp.tanh(x @ w)

    for seed in range(2):
        before = len(traced)
        images = noise(4, seed=seed)
        jax.block_until_ready(
            achieved_scores(model, "tanh:0-3", jnp.ones((3, 4)), images, batch_size=3)
        )
    shapes_only = len(traced) - before
    assert shapes_only < before


def test_ratios_and_success_are_those_of_the_mean_and_the_best():
    achieved = jnp.array([[3.0, 5.0], [1.0, 2.0], [-1.0, -1.0], [0.0, 0.0]])
    natural = jnp.array([[1.0, 2.0], [2.0, 1.0], [-2.0, -9.0], [0.0, jnp.nan]])
    beside = beside_natural(achieved, natural)
    np.testing.assert_array_equal(beside.mean, [4.0, 1.5, -1.0, 0.0])
    np.testing.assert_array_equal(beside.ratio, [2.0, 0.75, np.nan, np.nan])
    assert beside.is_success.tolist() == [True, False, True, False]
    assert float(beside.success_rate) == 0.5
    chex.assert_trees_all_equal(jax.jit(beside_natural)(achieved, natural), beside)
    first = achieved[:, 0]
    np.testing.assert_array_equal(beside_natural(first, natural).mean, first)


def test_units_without_a_natural_score_are_named():
    with pytest.raises(ValueError, match=r"Unit 1 \(and 0 others\) has no natural"):
        beside_natural(jnp.ones(2), jnp.array([[1.0], [jnp.nan]]))


def test_scores_of_places_are_no_scores_of_pictures():
    model, batches = (lambda w, x: jnp.tanh(x)), [jnp.zeros((4, 3, 3, 1))]
    found = fv.dataset_examples(model, "tanh:*", None, batches, by="place", k=1)
    assert found.by == "place"
    with pytest.raises(ValueError, match="by='image'"):
        beside_natural(jnp.ones(1), found)


@pytest.mark.parametrize("shape", [(3,), (2, 1, 1), (2, 0)])
def test_natural_scores_have_the_same_units(shape):
    with pytest.raises(ValueError, match=r"for 2 units, and its shape is"):
        beside_natural(jnp.ones(2), jnp.ones(shape))


def test_what_was_achieved_has_units():
    with pytest.raises(ValueError, match="achieved_scores"):
        beside_natural(jnp.ones(()), jnp.ones(1))


def test_transforms_need_a_key():
    with pytest.raises(TypeError, match=r"key=jax\.random\.key\(0\)"):
        achieved_scores(
            *(NET.apply, "first:0", VARIABLES, noise(1)),
            transforms=[fv.jitter(1)],
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 2}, "There are 5 images, and count=2 for each of 5 units"),
        ({"count": 0}, "`count` must be an integer of at least 1, and is 0"),
        ({"samples": 0}, "achieved_scores: `samples` must be an integer"),
        ({"batch_size": 0}, "`batch_size` must be an integer"),
    ],
)
def test_numbers_of_pictures_fit(options, message):
    with pytest.raises(ValueError, match=message):
        achieved_scores(NET.apply, "first:*", VARIABLES, noise(5), **options)


def test_pictures_of_one_unit_are_not_divided():
    with pytest.raises(ValueError, match="batch_size=2"):
        achieved_scores(
            NET.apply, "first:0", VARIABLES, noise(2), count=2, batch_size=1
        )


def test_a_model_that_cannot_be_hashed_will_do():
    class Model:
        __hash__ = None  # pyright: ignore[reportAssignmentType]  that is the point

        def __call__(self, w: Any, x: Any) -> Any:
            return jnp.tanh(x @ w)

    found = achieved_scores(Model(), "tanh:*", jnp.eye(3), noise(3))
    expected = achieved_scores(tanh_model, "tanh:*", jnp.eye(3), noise(3))
    np.testing.assert_array_equal(found, expected)


def test_pictures_are_arrays_of_floats():
    with pytest.raises(TypeError, match=r"result\.images"):
        check_float_images([[1.0]], "`images`")


def test_numpy_pictures_under_transformations():
    images = np.random.default_rng(0).uniform(size=(2, 4, 4, 3)).astype(np.float32)

    def run(w):
        given = (lambda w, x: jnp.tanh(w * x), "tanh:0,1", w, images)
        return fv.achieved_scores(*given)

    np.testing.assert_allclose(jax.jit(run)(1.5), run(1.5), rtol=1e-6)
    assert np.isfinite(jax.grad(lambda w: run(w).sum())(1.5))
