"""Directions, against the dot product and the cosine of one position at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.objectives.direction import direction, dot_cosine
from jaxinterp.objectives.unit import channel
from tests.objectives.views import alone, bind, scores
from tests.oracles import feature_objectives as oracle

RNG = np.random.default_rng(0)
MAPS = RNG.normal(size=(3, 4, 7, 5))
TOKENS = RNG.normal(size=(3, 6, 5))
VOLUMES = RNG.normal(size=(2, 3, 2, 4, 5))
VECTORS = RNG.normal(size=(3, 5))
ALL = {"maps": MAPS, "tokens": TOKENS, "volumes": VOLUMES, "vectors": VECTORS}
V = RNG.normal(size=(2, 5))
POWERS = [0.0, 1.0, 2.5]


@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("name", ALL)
def test_a_direction_is_compared_place_by_place(name, power):
    a = ALL[name]
    found = scores(direction("a", V, cosine_power=power), {"a": a})
    expected = [[oracle.direction(one, v, power) for one in a] for v in V]
    np.testing.assert_allclose(found, expected, rtol=1e-11)


@pytest.mark.parametrize("power", POWERS)
def test_a_direction_at_one_place(power):
    found = scores(
        direction("a", V[0], cosine_power=power, position="center"), {"a": MAPS}
    )
    expected = [oracle.dot_cosine(one[2, 3], V[0], power) for one in MAPS]
    np.testing.assert_allclose(found[0], expected, rtol=1e-11)
    objective = direction("a", V, cosine_power=power, position=([0, 3], 6))
    expected = [
        [oracle.dot_cosine(one[row, 6], v, power) for one in MAPS]
        for row, v in zip((0, 3), V, strict=True)
    ]
    np.testing.assert_allclose(scores(objective, {"a": MAPS}), expected, rtol=1e-11)


@pytest.mark.parametrize("power", POWERS)
def test_a_patch_lies_in_the_center(power):
    for height, width in [(4, 7), (1, 1), (3, 3), (2, 6)]:
        target = RNG.normal(size=(2, height, width, 5))
        top, left = (4 - height + 1) // 2, (7 - width + 1) // 2
        found = scores(direction("a", target, cosine_power=power), {"a": MAPS})
        expected = [
            [
                np.mean(
                    [
                        oracle.dot_cosine(one[top + y, left + x], patch[y, x], power)
                        for y, x in np.ndindex(height, width)
                    ]
                )
                for one in MAPS
            ]
            for patch in target
        ]
        np.testing.assert_allclose(found, expected, rtol=1e-11)


@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize(
    ("position", "corners"),
    [
        ((0, 0), [(0, 0), (0, 0)]),
        ((-1, -1), [(2, 4), (2, 4)]),
        (([2, 1], None), [(2, 2), (1, 2)]),
        ((None, [4, 0]), [(1, 4), (1, 0)]),
    ],
)
def test_a_patch_lies_where_it_is_put(position, corners, power):
    target = RNG.normal(size=(2, 2, 3, 5))
    objective = direction("a", target, cosine_power=power, position=position)
    expected = [
        [
            np.mean(
                [
                    oracle.dot_cosine(one[top + y, left + x], patch[y, x], power)
                    for y, x in np.ndindex(2, 3)
                ]
            )
            for one in MAPS
        ]
        for patch, (top, left) in zip(target, corners, strict=True)
    ]
    np.testing.assert_allclose(scores(objective, {"a": MAPS}), expected, rtol=1e-11)


def test_a_patch_may_lie_along_other_axes():
    target = RNG.normal(size=(1, 2, 1, 3, 5))
    found = scores(direction("a", target, position=(1, 0, 1)), {"a": VOLUMES})
    expected = (VOLUMES[:, 1:3, 0:1, 1:4] * target).sum(-1).mean((1, 2, 3))
    np.testing.assert_allclose(found[0], expected, rtol=1e-11)


@pytest.mark.parametrize("name", ALL)
def test_the_angle_alone(name):
    a = ALL[name]

    def angle(one, v):
        flat = one.reshape(-1, 5)
        return np.mean(flat @ v / np.linalg.norm(flat, axis=1) / np.linalg.norm(v))

    found = scores(direction("a", V, keep_length=False), {"a": a})
    np.testing.assert_allclose(found, [[angle(o, v) for o in a] for v in V], rtol=1e-10)
    np.testing.assert_allclose(
        scores(direction("a", 7 * V, keep_length=False), {"a": 9 * a}), found
    )
    assert (scores(direction("a", V, keep_length=False), {"a": 0 * a}) == 0).all()


def test_a_patch_of_one_place_is_a_neuron():
    patch = scores(direction("a", V[:, None, None, :]), {"a": MAPS})
    neuron = scores(direction("a", V, position="center"), {"a": MAPS})
    np.testing.assert_allclose(patch, neuron, rtol=1e-12)


def test_a_direction_along_an_axis_is_a_channel():
    found = scores(direction("a", np.eye(5)), {"a": MAPS})
    np.testing.assert_allclose(found, scores(channel("a"), {"a": MAPS}), rtol=1e-12)


def test_negative_times_negative_is_not_positive():
    a, v = -MAPS[:, :1, :1], MAPS[0, 0, 0]  # the first image is opposed to v
    found = scores(direction("a", v, cosine_power=1.0), {"a": a})
    assert found[0, 0] < 0


@pytest.mark.parametrize(
    "objective",
    [
        direction("a", V, cosine_power=2.0),
        direction("a", V, cosine_power=1.0, position=(None, [1, 2])),
        direction("a", V, cosine_power=2.0, position=([0, 1], 3)),
        direction("a", RNG.normal(size=(2, 3, 3, 5)), cosine_power=2.0),
    ],
)
def test_units_and_pictures_are_independent(objective):
    activations = {"a": MAPS}
    together = scores(objective, activations)
    np.testing.assert_allclose(together, alone(objective, activations), rtol=1e-13)
    for i in range(3):
        one = scores(objective, {"a": MAPS[i : i + 1]})
        np.testing.assert_allclose(together[:, i : i + 1], one, rtol=1e-13)


def test_a_dead_activation_has_a_finite_gradient():
    for power in POWERS:
        slope = jax.grad(lambda x, p=power: dot_cosine(x, V[0], p))(jnp.zeros(5))
        np.testing.assert_allclose(slope, V[0] * 0.1**power, rtol=1e-12)
        slope = jax.grad(lambda x, p=power: dot_cosine(x, 0 * V[0], p))(V[1])
        np.testing.assert_array_equal(slope, 0)


def test_the_size_of_activations_does_not_change_their_angle():
    for size in (1e-15, 1e15):
        x = jnp.asarray(MAPS[0, 0] * size, jnp.float32)
        found = dot_cosine(x, jnp.asarray(V[0], jnp.float32), 2.0)
        expected = [oracle.dot_cosine(one, V[0], 2.0) for one in MAPS[0, 0]]
        np.testing.assert_allclose(found / size, expected, rtol=1e-4)


def test_precision_is_that_of_the_activation_or_float32(strict_promotion):
    for dtype in (jnp.bfloat16, jnp.float16, jnp.float32):
        a = jnp.asarray(MAPS, dtype)
        objectives = [
            direction("a", V, cosine_power=2.0),  # V is float64
            direction("a", jnp.asarray(V, jnp.bfloat16)),
            direction("a", a[:1], cosine_power=2.0),
        ]
        for objective in objectives:
            assert scores(objective, {"a": a}).dtype == np.float32
        exact = scores(objectives[0], {"a": np.asarray(a, np.float64)})
        found = scores(objectives[0], {"a": a})
        np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: direction("a", "b"), TypeError, "direction is an array.*was 'b'"),
        (lambda: direction("a", [True]), TypeError, r"was bool\[1\]"),
        (lambda: direction("a", 1.0), ValueError, r"and was given with shape \(\)"),
        (lambda: direction("a", V, position="1"), TypeError, "A position is a tuple"),
        (
            lambda: direction("a", V, cosine_power=-1.0),
            ValueError,
            "at least 0, and is -1",
        ),
        (
            lambda: direction("a", V, cosine_power="2"),
            ValueError,
            "direction: `cosine_power` must be a finite number .* is '2'",
        ),
        (lambda: direction("a", None), TypeError, "direction is an array"),
        (
            lambda: direction("a", V[:, None], position=(1.5,)),
            TypeError,
            r"Write `direction\('Conv_0', vector, position=\(None, 5\)\)`",
        ),
    ],
)
def test_arguments_are_checked(make, error, message, unchecked):
    with pytest.raises(error, match=f"(?s){message}"):
        make()


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (direction("a", np.ones(4)), "has 4 entries, and 'a' has 5 channels"),
        (direction("a", np.ones(5), position=(4, 0)), "no place on axis 0"),
        (direction("a", np.ones((1, 5, 3, 5))), "does not fit into 'a'"),
        (direction("a", np.ones((1, 3, 3, 4))), "does not fit into 'a'"),
        (direction("a", np.ones((1, 3, 5))), "does not fit into 'a'"),
        (
            direction("a", np.ones((1, 2, 3, 5)), position=(3, 0)),
            "no place on axis 0 of the patch in 'a' 3: there are 3",
        ),
        (
            direction("a", np.ones((1, 2, 3, 5)), position=(3,)),
            "The position has 1 entries, and the patch in 'a' has 2 axes",
        ),
    ],
)
def test_what_does_not_fit_is_an_error(objective, message):
    with pytest.raises(ValueError, match=message):
        bind(objective, {"a": MAPS})
