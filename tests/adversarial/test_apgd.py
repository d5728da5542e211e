"""Auto-PGD: its schedule, its oracle, and that it knows no scale."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.adversarial import apgd, checkpoints, l1, l2, linf
from jaxinterp.adversarial.apgd import _Auto
from jaxinterp.keys import folded
from jaxinterp.objectives import log_probability
from tests.compiled import compiled
from tests.networks import functions as models
from tests.oracles import attacks

KEY = jax.random.key(3)
RADIUS = 0.3


def slowly(ball):
    """A norm that is left out by default."""
    reason = "another norm, of a program that takes long to compile"
    return pytest.param(ball, marks=pytest.mark.slow(reason=reason))


def test_the_checkpoints_are_those_of_the_paper():
    assert checkpoints(100) == (22, 41, 57, 70, 80, 87, 93, 99)
    assert checkpoints(10) == (3, 5, 6, 7, 8, 9)
    assert checkpoints(1) == ()
    for steps in (7, 33, 1000):
        p = [0.0, 0.22]
        while p[-1] < 1:
            p.append(p[-1] + max(p[-1] - p[-2] - 0.03, 0.06))
        exact = {math.ceil(round(q * steps, 9)) for q in p[1:]}
        assert checkpoints(steps) == tuple(sorted(n for n in exact if n < steps))


def test_steps_of_l1_shrink_until_the_best_point_is_sparser():
    """Of 100 steps every fourth is a checkpoint; the best point differs in half."""
    rows = jnp.zeros((1, 40))
    auto, ball = _Auto(100), l1(3.0)
    memory = auto.start(ball, rows)
    best = memory.best._replace(rows=rows.at[:, :20].set(1.0))
    memory = memory._replace(best=best, count=jnp.array([20.0]))
    sizes = []
    for number in range(37):
        memory, is_restarted = auto._sparser(ball, rows, memory, number)
        assert not is_restarted.any()
        sizes.append(float(memory.step_size[0]))
    expected = [max(3 / 1.5 ** (number // 4), 0.3) for number in range(37)]
    np.testing.assert_allclose(sizes, expected)
    np.testing.assert_allclose(memory.share, 20 / 40 / 1.5)
    best = best._replace(rows=rows.at[:, :18].set(1.0))
    memory = memory._replace(best=best)
    later, is_restarted = auto._sparser(ball, rows, memory, 39)
    assert not is_restarted.any()
    later, is_restarted = auto._sparser(ball, rows, memory, 40)
    assert is_restarted.all()
    np.testing.assert_allclose(later.step_size, 3)
    np.testing.assert_allclose(later.share, 18 / 40 / 1.5)


@pytest.mark.parametrize("ball", [linf, slowly(l2)])
def test_it_takes_the_steps_of_the_paper(ball):
    """Of a network with a tanh; every example by itself, restarted and halved."""
    v, x = models.mlp_weights(), np.clip(models.vectors(), -2, 2)
    y = np.asarray(models.smooth_mlp(v, x)).argmax(axis=1)
    threat, steps = ball(RADIUS, bounds=(-2.0, 2.0)), 40
    attack = compiled(
        apgd(models.smooth_mlp, threat=threat, steps=steps, score=log_probability)
    )
    result = attack(v, x, y, KEY)
    starts = np.asarray(threat.random(folded(KEY, 0), x, on_surface=True))
    run = jax.jit(lambda row: models.smooth_mlp(v, row[None])[0])
    jacobian = jax.jit(jax.jacobian(run))
    nearest = compiled(threat.project)
    for i in range(len(x)):

        def loss(row, i=i):
            z = np.asarray(run(row))
            return float(np.log(np.exp(z).sum()) - z[y[i]])

        def gradient(row, i=i):
            z = np.asarray(run(row))
            p = np.exp(z) / np.exp(z).sum()
            return (p - (np.arange(len(p)) == y[i])) @ np.asarray(jacobian(row))

        def project(row, i=i):
            return np.asarray(nearest(x[i][None], row[None]))[0]

        points, lengths = attacks.apgd(
            loss,
            gradient,
            project,
            functools.partial(attacks.steepest, norm=threat.norm),
            starts[i],
            RADIUS,
            steps,
        )
        losses = [loss(point) for point in points]
        np.testing.assert_allclose(result.losses[i, 1:], losses, rtol=1e-6)
        assert lengths[-1] <= lengths[0] / 4  # it was halved several times


@pytest.mark.parametrize("ball", [linf, slowly(l2), slowly(l1)])
def test_logits_times_1000_change_nothing_for_its_loss(ball):
    """The truth of the room: times 1024 exactly, times 1000 up to rounding."""
    arrays = models.mlp_weights(), models.vectors()
    v, x = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), arrays)
    y = models.mlp(v, x).argmax(axis=1)
    threat = ball({linf: 1.0, l2: 2.0, l1: 4.0}[ball], bounds=None)

    def scaled(v, x, scale):
        return scale * models.mlp(v[0], x)

    @compiled
    def attacked(scale):
        attack = apgd(lambda v, x: scaled(v, x, scale), threat=threat, steps=25)
        return attack((v, scale), x, y, KEY)

    plain, exact, large = map(attacked, (1.0, 1024.0, 1000.0))
    np.testing.assert_array_equal(plain.inputs, exact.inputs)
    assert np.asarray(plain.is_adversarial).any()
    np.testing.assert_array_equal(plain.is_adversarial, large.is_adversarial)
    np.testing.assert_allclose(plain.losses[:, 0], large.losses[:, 0], rtol=1e-5)


def test_with_l1_few_entries_change():
    """The share of moved entries falls while the best point has few of them."""
    random = np.random.default_rng(0)
    entries = 60
    v = {"w": random.normal(size=(entries, 3)), "b": np.zeros((1, 3))}
    x = 0.5 + 0.2 * random.random((4, entries))
    y = (x @ v["w"]).argmax(axis=1)

    def linear(v, x):
        return x @ v["w"] + v["b"]

    distance = [
        attacks.distance_of_linear(v["w"], v["b"][0], row, c, "l1")
        for row, c in zip(x, y, strict=True)
    ]
    threat = l1(1.3 * np.array(distance), bounds=(-99.0, 99.0))
    result = compiled(apgd(linear, threat=threat, steps=100))(v, x, y, KEY)
    assert np.asarray(result.is_adversarial).all()
    np.testing.assert_array_less(result.size, threat.radius * (1 + 1e-9))
    changed = (np.abs(np.asarray(result.inputs) - x) > 1e-12).sum(axis=1)
    assert (changed < entries / 3).all()


def test_of_two_classes_its_default_score_says_what_to_take():
    x = np.ones((1, 2))
    attack = apgd(lambda v, x: x, threat=linf(0.1))
    with pytest.raises(ValueError, match=r"the model has 2.*\n.*score=margin"):
        attack(None, x, np.array([0]), KEY)


@pytest.mark.parametrize("options", [{"steps": 0}, {"restarts": 0}])
def test_wrong_hyperparameters_are_errors(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"apgd: `{name}` must be an integer of at"):
        apgd(models.mlp, threat=linf(0.1), **options)
