"""Objectives that remember the steps before: averages of Gram matrices."""

import dataclasses
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxinterp import featurevis as fv

RNG = np.random.default_rng(0)
SHAPE = (3, 4, 2)
TARGETS = jnp.asarray(RNG.random((2, 5, 2)))  # of two units
DECAY, RATE = 0.8, 0.5
AVERAGED = fv.style("tanh", TARGETS, ema_decay=DECAY)


def net(variables, x):
    return jnp.tanh(x)


def maximize(objective=AVERAGED, steps=6, **settings):
    given = {
        "key": jax.random.key(0),
        "parametrization": fv.pixels(SHAPE, squash="clip", scale=0.1, dtype=float),
        "optimizer": optax.sgd(RATE),
        "warmup": None,
    }
    return fv.maximize(net, objective, None, steps=steps, **given | settings)


def written_out(start, target, steps):
    """The history and the last image of gradient ascent with an average."""
    x = np.asarray(start, np.float64)
    wanted = np.asarray(target).T @ np.asarray(target) / len(target)
    past, history = [], []
    for _ in range(steps):
        a = np.tanh(x).reshape(-1, x.shape[-1])
        past.append(a.T @ a / len(a))
        weights = DECAY ** np.arange(len(past))[::-1]
        average = np.einsum("n,ncd->cd", weights, past) / weights.sum()
        history.append(-np.mean((average - wanted) ** 2))
        slope = -2 * (average - wanted) / wanted.size
        slope = 2 * a @ slope / len(a) * (1 - a**2)
        x = x + RATE * slope.reshape(x.shape)
    return np.array(history), x


def assert_same(found, wanted):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_the_average_is_that_of_all_steps():
    found = maximize(count=2, snapshots=(0,))
    for i in range(4):
        start = found.snapshots[0][i]
        history, last = written_out(start, TARGETS[i // 2], 6)
        np.testing.assert_allclose(found.history[:, i], history, rtol=1e-10)
        np.testing.assert_allclose(found.images[i], last, rtol=1e-10)


def test_without_a_decay_nothing_is_remembered():
    plain = maximize(fv.style("tanh", TARGETS))
    assert jax.tree.leaves(plain.memory) == []
    assert_same(plain, maximize(fv.style("tanh", TARGETS, ema_decay=0)))
    assert np.abs(plain.images - maximize().images).max() > 1e-4


@pytest.mark.parametrize("settings", [{"batch_size": 1}, {"rematerialize": True}])
def test_how_it_is_computed_changes_nothing(settings):
    assert_same(maximize(**settings), maximize())


def test_it_goes_on_where_it_ended():
    half = pickle.loads(pickle.dumps(maximize(steps=3)))
    assert_same(maximize(resume=half), maximize())


def test_a_result_without_the_memory_is_not_resumed():
    half = maximize(fv.style("tanh", TARGETS), steps=3)
    with pytest.raises(ValueError, match="the result to resume is of a call with"):
        maximize(resume=half)


def test_under_jit():
    inside = jax.jit(lambda: maximize(progress=False))()
    assert_same(inside, maximize())


def test_the_memory_is_of_the_transforms_that_were_drawn():
    found = maximize(samples=3, transforms=fv.noise(0.3), steps=1)
    one = maximize(samples=1, transforms=fv.noise(0.3), steps=1)
    none = maximize(steps=1)
    assert found.memory[0].shape == (2, 1, 2, 2)
    sizes = [float(np.trace(r.memory[0][0, 0])) for r in (found, one, none)]
    assert len({round(size, 6) for size in sizes}) == 3


def test_parts_of_an_objective_remember_each_its_own():
    other = fv.style("tanh", 2 * TARGETS, ema_decay=0.5)
    both = maximize(2 * AVERAGED - 0 * other + 0 * fv.total_variation())
    alone = maximize(2 * AVERAGED)
    assert_same(both[:4], alone[:4])


def test_pictures_of_a_group_remember_each_its_own():
    other = fv.style("tanh", 2 * TARGETS, ema_decay=0.5)
    group = fv.for_images(other, [2, 0]) + fv.for_images(AVERAGED, 1)
    found = maximize(group, count=3, snapshots=(0,))
    for unit in range(2):
        history, last = written_out(
            found.snapshots[0][3 * unit + 1], TARGETS[unit], steps=6
        )
        np.testing.assert_allclose(found.history[:, 3 * unit + 1], history, rtol=1e-10)
        np.testing.assert_allclose(found.images[3 * unit + 1], last, rtol=1e-10)
    ends = maximize(fv.interpolate(AVERAGED, other), count=2, snapshots=(0,))
    history, last = written_out(ends.snapshots[0][0], TARGETS[0], steps=6)
    np.testing.assert_allclose(ends.history[:, 0], history, rtol=1e-10)
    np.testing.assert_allclose(ends.images[0], last, rtol=1e-10)


def test_halves_that_are_seen_in_turn_may_differ():
    """What each view has to be by itself, all of them are together."""

    def half(key, image):
        start = jnp.where(jax.random.bernoulli(key), 2, 0)
        return jax.lax.dynamic_slice_in_dim(image, start, 2)

    def spread(objective):
        images = maximize(
            objective,
            steps=300,
            transforms=half,
            optimizer=optax.sgd(0.1),
            parametrization=fv.from_image(
                fv.pixels((4, 1, 1), squash="clip"),
                jnp.array([0.9, 0.9, 0.1, 0.1])[None, :, None, None],
            ),
        ).images[0]
        return float(jnp.abs(images[:2].mean() - images[2:].mean()))

    target = jnp.tanh(jnp.array([[0.9, 0.1]]))[..., None]
    alone = spread(fv.style("tanh", target))
    together = spread(fv.style("tanh", target, ema_decay=0.99))
    assert alone < 0.01 < 0.6 < together


def test_half_precision_is_averaged_in_single():
    pictures = fv.pixels(SHAPE, dtype=jnp.bfloat16)
    found = maximize(parametrization=pictures, steps=3)
    assert found.images.dtype == jnp.bfloat16
    assert found.memory[0].dtype == jnp.zeros((), float).dtype
    assert np.isfinite(np.asarray(found.history, np.float32)).all()


@pytest.mark.parametrize("decay", [1, -0.1, float("nan"), "often", None, [0.5, 0.5]])
def test_a_decay_out_of_range_is_named(decay):
    with pytest.raises(ValueError, match=r"style: `ema_decay` is a number from 0"):
        fv.style("tanh", TARGETS, ema_decay=decay)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Forgetful(fv.Objective):
    """Remembers something else than it says."""

    @property
    def sites(self):
        return ("tanh",)

    def memory(self, shapes, count):
        return jnp.zeros(count)

    def remember(self, view):
        return jnp.zeros(2)

    def __call__(self, view):
        return view.activations["tanh"].sum((1, 2, 3))


def test_a_memory_of_another_shape_is_an_error():
    with pytest.raises(ValueError, match=r"remembered float.*\[1\] .* float.*\[2\]"):
        maximize(Forgetful())


@pytest.mark.parametrize("decay", [np.float32(0.5), np.array(0.5), jnp.array(0.5)])
def test_a_decay_may_be_any_number(decay):
    found = maximize(fv.style("tanh", TARGETS, ema_decay=decay))
    assert_same(found, maximize(fv.style("tanh", TARGETS, ema_decay=0.5)))


def test_strict_promotion():
    with jax.numpy_dtype_promotion("strict"):
        pictures = fv.pixels(SHAPE, squash="clip")
        target = TARGETS.astype(jnp.float32)
        objective = fv.style("tanh", target, ema_decay=DECAY)
        run = jax.jit(
            lambda: maximize(objective, parametrization=pictures, progress=False)
        )
        assert np.isfinite(np.asarray(run().images)).all()


def test_another_decay_goes_on_with_the_average():
    still = {"optimizer": optax.sgd(0.0)}
    half = maximize(fv.style("tanh", TARGETS, ema_decay=0.5), steps=2, **still)
    later = fv.style("tanh", TARGETS, ema_decay=0.95)
    history = maximize(later, steps=5, resume=half, **still).history
    np.testing.assert_allclose(history, np.broadcast_to(history[:1], (5, 2)))


def test_what_remembers_nothing_goes_on_from_results_without_a_memory():
    def combined(**settings):
        sum_of = fv.layer("tanh") - 0.1 * fv.total_variation()
        return maximize(fv.interpolate(sum_of, sum_of), **settings)

    half = combined(steps=3)
    assert half.memory is None
    old = fv.Result(*half[:6])
    assert_same(combined(resume=old), combined())


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Counting(fv.Objective):
    """Remembers whole numbers, a truth and a key."""

    @property
    def sites(self):
        return ("tanh",)

    def memory(self, shapes, count):
        start = {"steps": jnp.zeros((), jnp.int32), "odd": jnp.array(False)}
        return start | {"key": jax.random.key(0)}

    def remember(self, view):
        steps, odd, key = (view.memory[name] for name in ("steps", "odd", "key"))
        return {"steps": steps + 1, "odd": ~odd, "key": jax.random.split(key)[0]}

    def __call__(self, view):
        return view.activations["tanh"][..., view.memory["steps"] % 2].sum((1, 2))


@pytest.mark.parametrize("samples", [1, 3])
def test_what_is_no_float_is_not_averaged(samples):
    for found in (
        maximize(Counting(), steps=5, samples=samples),
        jax.jit(lambda: maximize(Counting(), steps=5, progress=False))(),
        maximize(Counting(), steps=5, resume=maximize(Counting(), steps=3)),
    ):
        assert found.memory["steps"].dtype == jnp.int32
        assert found.memory["steps"].tolist() == [5]
        assert found.memory["odd"].tolist() == [True]
