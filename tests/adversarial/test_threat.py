"""Norms, projections, steepest steps and random changes."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from jaxinterp.adversarial import (
    NormBall,
    carlini_wagner,
    deep_fool,
    fgsm,
    l1,
    l2,
    linf,
    pgd,
)
from tests.compiled import compiled
from tests.oracles import attacks

BALLS = {"linf": linf, "l2": l2, "l1": l1}
ORDERS = {"linf": np.inf, "l2": 2, "l1": 1}
every_norm = pytest.mark.parametrize("norm", BALLS)
RADIUS = {"linf": 0.3, "l2": 0.6, "l1": 0.9}
RNG = np.random.default_rng(0)
X = RNG.random((40, 5))
X[0] = [0, 1, 0, 1, 0.5]
Y = X + 0.6 * RNG.normal(size=X.shape)


def projected(norm, radius, x=X, y=Y):
    return np.asarray(compiled(BALLS[norm](radius).project)(x, y))


def feasible(norm, radius, x, count):
    """Random points that the attacker may make, many of them on corners."""
    change = RNG.normal(size=(count, *x.shape)) * RNG.integers(0, 2, (count, *x.shape))
    sizes = np.linalg.norm(change, ORDERS[norm], axis=-1, keepdims=True)
    moved = x + radius * change / np.maximum(sizes, 1e-12)
    inside = np.clip(moved, 0, 1)  # nearer in every entry, as x is inside
    return inside


@every_norm
def test_a_projection_lies_in_the_ball_and_the_range(norm):
    p = projected(norm, RADIUS[norm])
    sizes = np.linalg.norm(p - X, ORDERS[norm], axis=1)
    assert (sizes <= RADIUS[norm] + 1e-12).all()
    assert p.min() >= 0
    assert p.max() <= 1
    assert (sizes > RADIUS[norm] - 1e-9).sum() > 10
    size = BALLS[norm](1.0).size(p - X)
    np.testing.assert_allclose(size, sizes, rtol=1e-12)


@every_norm
def test_a_projection_is_the_nearest_point(norm):
    """The angle to any other point of a convex set is not acute."""
    p = projected(norm, RADIUS[norm])
    others = feasible(norm, RADIUS[norm], X, 2000)
    assert ((Y - p) * (others - p)).sum(axis=-1).max() < 1e-9


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_a_projection_is_the_solution_of_a_quadratic_program(norm):
    p = projected(norm, RADIUS[norm])
    for x, y, ours in zip(X[:4], Y[:4], p, strict=False):
        # The change is the difference of two parts that are not negative.
        def parts(v, x=x):
            return x + v[:5] - v[5:]

        def inside(v, x=x):
            change = v[:5] - v[5:]
            size = (v.sum() if norm == "l1" else (change**2).sum()) - RADIUS[norm] ** (
                1 if norm == "l1" else 2
            )
            return np.concatenate([[-size], x + change, 1 - x - change])

        solution = optimize.minimize(
            lambda v, y=y, parts=parts: ((parts(v) - y) ** 2).sum(),
            np.zeros(10),
            bounds=[(0, None)] * 10,
            constraints={"type": "ineq", "fun": inside},
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 500},
        )
        np.testing.assert_allclose(parts(solution.x), ours, atol=2e-5)


@every_norm
def test_a_projection_leaves_what_is_allowed_and_projects_once(norm):
    p = projected(norm, RADIUS[norm])
    np.testing.assert_allclose(projected(norm, RADIUS[norm], y=p), p, atol=1e-12)
    inside = X + 0.1 * (p - X)
    np.testing.assert_array_equal(projected(norm, RADIUS[norm], y=inside), inside)
    np.testing.assert_allclose(
        projected(norm, np.inf), np.clip(Y, 0, 1), atol=1e-12, rtol=0
    )
    np.testing.assert_allclose(projected(norm, 0.0), X, atol=1e-12)


@every_norm
def test_each_example_may_have_its_own_radius(norm):
    radii = np.linspace(0.05, 0.8, len(X))
    p = projected(norm, radii)
    for i in (0, 20, 39):
        one = projected(norm, radii[i], X[i : i + 1], Y[i : i + 1])
        np.testing.assert_array_equal(p[i : i + 1], one)


@every_norm
def test_single_precision_stays_in_the_ball_up_to_rounding(norm):
    x, y = X.astype(np.float32), Y.astype(np.float32)
    p = projected(norm, RADIUS[norm], x, y)
    chex.assert_type(p, jnp.float32)
    sizes = np.linalg.norm(p.astype(float) - x, ORDERS[norm], axis=1)
    assert (sizes <= RADIUS[norm] + 4e-7).all()
    np.testing.assert_allclose(p, projected(norm, RADIUS[norm]), atol=2e-6)


def test_changes_whose_squares_vanish_are_projected():
    x = np.zeros((1, 2), np.float32)
    y = np.array([[3e-25, -4e-25]], np.float32)
    ball = l2(1e-25, bounds=(-1.0, 1.0))
    np.testing.assert_allclose(ball.project(x, y), y / 5, rtol=1e-6)


@every_norm
def test_the_steepest_step_has_norm_1_and_reaches_the_dual_norm(norm):
    g = RNG.normal(size=(6, 2, 3))
    steps = np.asarray(BALLS[norm](1.0).steepest(jnp.asarray(g)))
    for one, step in zip(g, steps, strict=True):
        np.testing.assert_allclose(
            step.ravel(), attacks.steepest(one.ravel(), norm), atol=1e-12
        )
        dual = attacks.dual_norm(one.ravel(), norm)
        np.testing.assert_allclose((step * one).sum(), dual, rtol=1e-12)
    still = BALLS[norm](1.0).steepest(jnp.zeros((2, 3)))
    np.testing.assert_array_equal(still, 0)


def test_a_step_may_move_a_share_of_the_entries():
    g = jnp.array([[5.0, -4.0, 1.0, 2.0, 0.0]])
    step = l1(1.0).steepest(g, 0.3)
    np.testing.assert_array_equal(step, [[0.5, -0.5, 0, 0, 0]])
    both = l1(1.0).steepest(jnp.concatenate([g, g]), jnp.array([0.2, 0.6]))
    np.testing.assert_allclose(both[0], [1, 0, 0, 0, 0])
    np.testing.assert_allclose(both[1], [1 / 3, -1 / 3, 0, 1 / 3, 0])


def test_an_entry_that_its_bounds_stop_is_no_way_to_go():
    x = jnp.array([[0.0, 0.0, 1.0, 1.0, 0.5]])
    g = jnp.array([[2.0, -2.0, 2.0, -2.0, 2.0]])
    np.testing.assert_array_equal(linf(0.1).movable(x, g), [[2, 0, 0, -2, 2]])
    np.testing.assert_array_equal(linf(0.1, bounds=None).movable(x, g), g)


@every_norm
def test_random_changes_fill_the_ball(norm):
    """The norm to the power of the dimension is uniform, on the surface it is 1."""
    ball = BALLS[norm](0.5, bounds=None)
    x = jnp.zeros((2, 3))
    keys = jax.random.split(jax.random.key(0), 2000)
    draw = compiled(jax.vmap(lambda key: ball.random(key, x)))
    changes = np.asarray(draw(keys))
    np.testing.assert_array_equal(changes[:, 0], changes[:, 1])  # one for all examples
    powers = (np.linalg.norm(changes[:, 0], ORDERS[norm], axis=1) / 0.5) ** 3
    np.testing.assert_allclose(
        np.quantile(powers, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.04
    )
    np.testing.assert_allclose(changes.mean(axis=0), 0, atol=0.02)
    surface = compiled(jax.vmap(lambda key: ball.random(key, x, on_surface=True)))
    sizes = np.linalg.norm(np.asarray(surface(keys))[:, 0], ORDERS[norm], axis=1)
    np.testing.assert_allclose(sizes, 0.5, rtol=1e-9)


def test_bounds_may_be_arrays():
    low, high = np.zeros(3), np.array([0.1, 1.0, 2.0])
    x = jnp.full((2, 4, 4, 3), 0.05)
    p = linf(5.0, bounds=(low[None, None, None], high[None, None, None])).project(
        x, x + 5
    )
    np.testing.assert_array_equal(p, np.broadcast_to(high, x.shape))


@pytest.mark.parametrize(
    ("radius", "bounds", "message"),
    [
        (-0.1, (0, 1), r"linf: `radius` must be a number of at least 0.* is -0\.1"),
        (float("nan"), (0, 1), "`radius` must be a number"),
        ("wide", (0, 1), "`radius` must be a number.* is 'wide'"),
        (0.1, 1.0, r"`bounds` must be the lowest and the highest .* is 1\.0"),
        (0.1, (1, 0), r"first of `bounds` must be lower than the second: \(1, 0\)"),
    ],
)
def test_a_wrong_threat_is_an_error(radius, bounds, message):
    with pytest.raises(ValueError, match=message):
        linf(radius, bounds=bounds)


def test_random_changes_need_a_key():
    with pytest.raises(TypeError, match="needs one key"):
        linf(0.1).random(None, jnp.zeros((1, 2)))


def test_a_threat_is_a_pytree():
    assert jax.tree.leaves(l2(0.5, bounds=(0.0, 2.0))) == [0.5, 0.0, 2.0]
    assert isinstance(jax.tree.map(lambda leaf: 2 * leaf, l2(0.5)), NormBall)


def test_there_is_one_radius_or_one_for_each_example():
    model, x, y = (lambda w, x: x @ w), jnp.full((4, 3), 0.5), jnp.zeros(4, int)
    for threat in (linf(jnp.full(3, 0.1)), l2(jnp.full(3, 0.1))):
        for attack in (fgsm(model, threat=threat), deep_fool(model, threat=threat)):
            with pytest.raises(ValueError, match=r"each of the 4 examples, .* \(3,\)"):
                attack(jnp.eye(3), x, y)
    with pytest.raises(ValueError, match="`bounds` must be"):
        linf(0.1, bounds=("low", "high"))  # pyright: ignore[reportArgumentType]  what is tested


def test_what_is_not_a_number_is_not_robust():
    """No class leads among NaN, so that no change would count as a success."""
    x, y = jnp.full((2, 3), 0.5), jnp.zeros(2, int)
    attack = fgsm(lambda w, x: x @ w, threat=linf(0.1))
    with pytest.raises(FloatingPointError, match=r"outputs for example 0 \(and 1 oth"):
        attack(jnp.nan * jnp.eye(3), x, y)
    with pytest.raises(ValueError, match="outside of the bounds"):
        attack(jnp.eye(3), x.at[1, 0].set(jnp.nan), y)


def test_a_step_or_a_constant_of_zero_is_an_error():
    model = lambda w, x: x @ w  # noqa: E731
    with pytest.raises(ValueError, match="pgd: `step_size` must be positive"):
        pgd(model, threat=linf(0.1), step_size=0.0)
    for name in ("learning_rate", "first_constant"):
        with pytest.raises(ValueError, match=f"`{name}` must be positive"):
            carlini_wagner(model, **{name: 0.0})
