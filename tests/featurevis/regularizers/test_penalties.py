"""Penalties of images are what their formulas say, for any size and rank."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.featurevis.regularizers.blur_penalty import blur_penalty
from jaxinterp.featurevis.regularizers.boundary_penalty import (
    boundary_penalty,
)
from jaxinterp.featurevis.regularizers.frequency_penalty import frequency_penalty
from jaxinterp.featurevis.regularizers.norm import Norm, norm
from jaxinterp.featurevis.regularizers.prior_distance import (
    prior_distance,
)
from jaxinterp.featurevis.regularizers.total_variation import total_variation
from jaxinterp.objectives.evaluate import evaluate
from jaxinterp.objectives.objective import Shapes, View
from tests.oracles import penalties

RNG = np.random.default_rng(0)
SHAPES = [(9, 12, 3), (13, 7, 1), (8, 8, 7)]
ALL = {
    "norm 1": norm(1),
    "norm 2": norm(2),
    "norm infinity": norm(math.inf),
    "total_variation": total_variation(),
    "blur_penalty": blur_penalty(),
    "frequency_penalty": frequency_penalty(),
    "boundary_penalty": boundary_penalty(3),
    "prior_distance": prior_distance(lambda pictures: pictures / 2),
}
OF_NEIGHBORS = [
    total_variation(),
    blur_penalty(),
    frequency_penalty(),
    boundary_penalty(1),
]


def cost(regularizer, pictures):
    """The penalty of each image of one unit."""

    @jax.jit
    def run(pictures):
        return evaluate(regularizer, View({}, None, pictures[None], 0), 1)[0]

    return run(jnp.asarray(pictures))


def slope_of(regularizer, pictures):
    """The gradient of the sum of all penalties."""
    slope = jax.jit(jax.grad(lambda x: cost(regularizer, x).sum()))
    return np.asarray(slope(jnp.asarray(pictures)))


def shapes(*image):
    return Shapes({}, None, image)


FORMULAS = [
    (norm(1), lambda x: np.abs(x - 0.5).sum()),
    (norm(1, 0.25), lambda x: np.abs(x - 0.25).sum()),
    (norm(2), lambda x: np.sqrt(1e-6 + ((x - 0.5) ** 2).sum())),
    (norm(2, 0.0, epsilon=1.0), lambda x: np.sqrt(1 + (x**2).sum())),
    (norm(math.inf), lambda x: np.abs(x - 0.5).max()),
    (norm(math.inf, 1.0), lambda x: np.abs(x - 1).max()),
    (total_variation(), penalties.total_variation),
    (
        blur_penalty(),
        lambda x: ((x - penalties.rim_blur(x, 3)) ** 2).sum() / 2,
    ),
    (
        blur_penalty(5),
        lambda x: ((x - penalties.rim_blur(x, 5)) ** 2).sum() / 2,
    ),
    (frequency_penalty(), lambda x: penalties.spectral_energy(x, 1.0)),
    (frequency_penalty(0.4), lambda x: penalties.spectral_energy(x, 0.4)),
    (boundary_penalty(2), lambda x: penalties.boundary(x, 2, 0.5)),
    (boundary_penalty(3, 0.1), lambda x: penalties.boundary(x, 3, 0.1)),
]
sized = pytest.mark.slow(reason="another size, where the formula knows of none")


@pytest.mark.parametrize(
    ("regularizer", "textbook", "shape"),
    [
        pytest.param(
            *formula,
            shape,
            marks=[sized] if i and isinstance(formula[0], Norm) else [],
        )
        for formula in FORMULAS
        for i, shape in enumerate(SHAPES)
    ],
)
def test_the_penalty_is_that_of_the_formula(regularizer, textbook, shape):
    pictures = RNG.uniform(size=(2, *shape))
    expected = [textbook(picture) for picture in pictures]
    bound = regularizer.bound(shapes(*shape))
    np.testing.assert_allclose(cost(bound, pictures), expected, rtol=1e-10)


@pytest.mark.parametrize("name", ALL)
def test_every_penalty_is_positive_and_one_number_per_picture(name):
    pictures = jnp.asarray(RNG.uniform(size=(3, 9, 8, 3)))
    costs = cost(ALL[name], pictures)
    assert costs.shape == (3,)
    assert (np.asarray(costs) > 0).all()
    alone = [np.asarray(cost(ALL[name], picture[None]))[0] for picture in pictures]
    np.testing.assert_allclose(costs, alone, rtol=1e-12)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("shape", [(16, 2), (8, 7, 9, 1)])
def test_a_penalty_takes_signals_and_volumes(name, shape):
    regularizer = ALL[name].bound(shapes(*shape))
    pictures = jnp.asarray(RNG.uniform(size=(2, *shape)))
    gradient = slope_of(regularizer, pictures)
    assert gradient.shape == pictures.shape
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).sum() > 0


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_a_penalty_of_low_precision_is_summed_in_single(name, dtype, strict_promotion):
    exact = jnp.asarray(RNG.uniform(size=(1, 40, 40, 3))).astype(dtype)
    costs = cost(ALL[name], exact)
    assert costs.dtype == jnp.float32
    reference = cost(ALL[name], exact.astype(jnp.float64))
    # The function of prior_distance halves in the precision of the images, exactly.
    np.testing.assert_allclose(costs, reference, rtol=1e-4)


def test_a_line_of_pixels_varies_as_much_as_in_any_rank():
    line = RNG.uniform(size=(1, 10, 2))
    as_picture, as_volume = line[:, :, None], line[:, None, :, None]
    for regularizer in (total_variation(), frequency_penalty()):
        expected = cost(regularizer, line)
        np.testing.assert_allclose(cost(regularizer, as_picture), expected, rtol=1e-12)
        np.testing.assert_allclose(cost(regularizer, as_volume), expected, rtol=1e-12)


def test_a_constant_picture_has_no_variation_anywhere():
    pictures = jnp.full((1, 9, 8, 3), 0.7)
    for regularizer in (total_variation(), blur_penalty(), frequency_penalty()):
        np.testing.assert_allclose(cost(regularizer, pictures), 0, atol=1e-24)
    # Sides of 9 x 8 less 7 x 6 within a border of 1.
    expected = 0.8 * 0.2**2 * (72 - 42) * 3
    np.testing.assert_allclose(cost(boundary_penalty(1), pictures), expected)


def test_the_gradient_of_a_norm_is_finite_where_the_norm_is_zero():
    pictures = jnp.full((1, 4, 4, 3), 0.5)
    for regularizer in (norm(1), norm(2), norm(math.inf)):
        gradient = slope_of(regularizer, pictures)
        assert np.isfinite(gradient).all()


def test_a_step_against_the_blur_penalty_blurs():
    picture = jnp.asarray(RNG.uniform(size=(7, 6, 3)))
    (gradient,) = slope_of(blur_penalty(), picture[None])
    expected = penalties.rim_blur(np.asarray(picture), 3)
    np.testing.assert_allclose(picture - gradient, expected, atol=1e-12)


def test_the_boundary_penalty_of_chosen_places():
    pictures = jnp.asarray(RNG.uniform(size=(2, 9, 8, 3)))
    border = np.ones((9, 8))
    border[2:-2, 2:-2] = 0
    same = cost(boundary_penalty(where=border), pictures)
    np.testing.assert_allclose(same, cost(boundary_penalty(2), pictures), rtol=1e-12)
    twice = cost(boundary_penalty(constant=0.1, where=2 * border), pictures)
    expected = 2 * cost(boundary_penalty(2, 0.1), pictures)
    np.testing.assert_allclose(twice, expected, rtol=1e-12)
    with pytest.raises(ValueError, match=r"each place of a image, \(9, 8\), and"):
        boundary_penalty(where=np.ones((8, 9))).bound(shapes(9, 8, 3))


def test_the_boundary_penalty_leaves_the_inside_alone():
    pictures = jnp.asarray(RNG.uniform(size=(1, 16, 14, 3)))
    gradient = slope_of(boundary_penalty(3), pictures)
    # The blur of a border pixel reaches two pixels inward.
    assert (gradient[:, 5:-5, 5:-5] == 0).all()
    assert (gradient[:, :3] != 0).all()


def test_without_decay_the_frequency_penalty_is_the_variance():
    pictures = RNG.uniform(size=(1, 9, 8, 3))
    centered = pictures - pictures.mean((1, 2), keepdims=True)
    expected = (centered**2).sum()
    np.testing.assert_allclose(cost(frequency_penalty(0.0), pictures)[0], expected)


def test_high_frequencies_cost_more():
    place = np.arange(16)
    waves = [np.cos(2 * np.pi * k * place / 16) for k in (1, 2, 4)]
    pictures = np.stack([np.tile(w[:, None, None], (1, 16, 1)) for w in waves])
    costs = cost(frequency_penalty(), pictures)
    np.testing.assert_allclose(costs / costs[0], [1, 4, 16])


def test_each_unit_has_its_own_prior():
    prior = jnp.asarray(RNG.uniform(size=(2, 5, 4, 3)))
    pictures = jnp.asarray(RNG.uniform(size=(2, 3, 5, 4, 3)))
    costs = evaluate(prior_distance(prior), View({}, None, pictures, 0), 2)
    expected = ((pictures - prior[:, None]) ** 2).sum((2, 3, 4))
    np.testing.assert_allclose(costs, expected)
    shared = evaluate(prior_distance(prior[:1]), View({}, None, pictures, 0), 2)
    expected = ((pictures - prior[:1, None]) ** 2).sum((2, 3, 4))
    np.testing.assert_allclose(shared, expected)


def test_a_function_as_prior_draws_pictures_to_what_it_gives():
    pictures = jnp.asarray(RNG.uniform(size=(2, 5, 4, 3)))
    regularizer = prior_distance(jnp.sqrt)
    expected = ((pictures - jnp.sqrt(pictures)) ** 2).sum((1, 2, 3))
    np.testing.assert_allclose(cost(regularizer, pictures), expected)
    gradient = slope_of(regularizer, pictures)
    np.testing.assert_allclose(gradient, 2 * (pictures - jnp.sqrt(pictures)))


def test_a_penalty_is_subtracted_from_an_objective():
    pictures = jnp.asarray(RNG.uniform(size=(2, 5, 4, 3)))
    objective = 2.0 - 0.25 * total_variation()
    expected = 2 - 0.25 * cost(total_variation(), pictures)
    np.testing.assert_allclose(cost(objective, pictures), expected)


@pytest.mark.parametrize("regularizer", OF_NEIGHBORS)
def test_what_has_no_neighbors_is_an_error(regularizer):
    with pytest.raises(ValueError, match="Give images an axis before them"):
        regularizer.bound(shapes(5))


def test_a_border_that_leaves_nothing_is_an_error():
    with pytest.raises(ValueError, match=r"Write a width below 4\.$"):
        boundary_penalty(4).bound(shapes(8, 20, 3))
    boundary_penalty(3).bound(shapes(8, 20, 3))


def test_a_prior_of_another_shape_is_an_error():
    with pytest.raises(ValueError, match=r"Write `image\[None\]`"):
        prior_distance(jnp.zeros((8, 8, 3))).bound(shapes(8, 8, 3))
    bound = prior_distance(jnp.zeros((1, 8, 8, 3))).bound(shapes(8, 8, 3))
    assert cost(bound, jnp.zeros((1, 8, 8, 3))) == 0
    with pytest.raises(ValueError, match="goes from images"):
        cost(prior_distance(lambda x: x[:, :2]), jnp.zeros((1, 8, 8, 3)))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: norm(1, math.nan), ValueError, "norm: `constant` must be a finite"),
        (lambda: norm(2, math.inf), ValueError, "norm: `constant` must be a finite"),
        (lambda: norm(math.nan), ValueError, "norm: `order` must be a finite"),
        (lambda: norm(epsilon=0.0), ValueError, "norm: `epsilon` is 0, and must be"),
        (lambda: blur_penalty(4), ValueError, "an odd width from 3, not 4"),
        (lambda: blur_penalty(1), ValueError, "an odd width from 3, not 1"),
        (
            lambda: frequency_penalty(-1.0),
            ValueError,
            "`decay` .* at least 0, and is -1.0",
        ),
        (lambda: frequency_penalty(float("nan")), ValueError, "`decay` .* is nan"),
        (
            lambda: boundary_penalty(0),
            ValueError,
            "`width` must be an integer",
        ),
        (lambda: boundary_penalty(2, float("nan")), ValueError, "`constant` .* is nan"),
        (lambda: prior_distance(3), TypeError, "floats .units, ..., channels. or"),
        (lambda: prior_distance(np.zeros((1, 2, 2), int)), TypeError, "int64"),
    ],
)
def test_a_wrong_argument_is_named(make, error, message):
    with pytest.raises(error, match=message):
        make()
