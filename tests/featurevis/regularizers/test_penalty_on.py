"""Penalties of activations, and of some channels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp import featurevis as fv
from jaxinterp.objectives.evaluate import evaluate
from jaxinterp.objectives.objective import Shapes, View
from tests.objectives.views import scores
from tests.oracles import penalties

MAPS = np.random.default_rng(0).normal(size=(3, 4, 7, 5))


def test_an_activation_takes_the_place_of_the_picture():
    found = scores(fv.penalty_on(fv.norm(1, 0.25), site="a"), {"a": MAPS})
    np.testing.assert_allclose(found, [np.abs(MAPS - 0.25).sum((1, 2, 3))])
    down, right = (np.abs(np.diff(MAPS, axis=axis)).sum((1, 2, 3)) for axis in (1, 2))
    found = scores(fv.penalty_on(fv.total_variation(), site="a"), {"a": MAPS})
    np.testing.assert_allclose(found, [down + right])


@pytest.mark.slow(reason="two optimizations of 50 steps")
def test_it_keeps_a_layer_smooth():
    def net(variables, x):
        return jnp.sin(jnp.tanh(4 * x - 2))

    def roughness(weight):
        objective = fv.neuron("sin", 0, position=(2, 2))
        objective = objective - weight * fv.penalty_on(
            fv.total_variation(), site="tanh"
        )
        image = fv.maximize(
            net,
            objective,
            None,
            key=jax.random.key(0),
            steps=50,
            progress=False,
            parametrization=fv.pixels((5, 5, 1), scale=1.0),
        ).images[0, ..., 0]
        a = jnp.tanh(4 * image - 2)
        return sum(float(jnp.abs(jnp.diff(a, axis=axis)).sum()) for axis in (0, 1))

    assert roughness(1.0) < 0.3 * roughness(0.0)


def test_it_compares_as_its_penalty():
    assert fv.penalty_on(fv.diversity("b"), site="a").compares
    assert fv.penalty_on(fv.norm(2, 0.0) + fv.channel("b", 0), site="a").sites == (
        "a",
        "b",
    )
    with pytest.raises(TypeError, match=r"penalty_on\(\) takes an objective of"):
        fv.penalty_on("b", site="a")
    with pytest.raises(ValueError, match="takes a `site`, `channels`, or both"):
        fv.penalty_on(fv.norm())


PICTURES = np.random.default_rng(1).uniform(size=(2, 6, 5, 4))


@pytest.mark.parametrize(
    ("channels", "kept"),
    [
        (-1, [3]),
        (1, [1]),
        ([2, 0], [2, 0]),
        (range(4), range(4)),
        (np.array([2, -1]), [2, 3]),
        (jnp.array(1), [1]),
    ],
)
def test_a_penalty_of_some_channels_is_that_of_pictures_without_the_others(
    channels, kept
):
    penalty = fv.blur_penalty() + fv.norm(2, 0.25)
    shapes = Shapes({}, None, PICTURES.shape[1:])
    bound = fv.penalty_on(penalty, channels=channels).bound(shapes)
    found = evaluate(bound, View({}, None, jnp.asarray(PICTURES)[None], 0), 1)
    alone = jnp.asarray(PICTURES[..., list(kept)])[None]
    np.testing.assert_allclose(found, evaluate(penalty, View({}, None, alone, 0), 1))


def test_a_penalty_of_some_channels_of_an_activation():
    objective = fv.penalty_on(fv.norm(1, 0.25), site="a", channels=[1, -1])
    found = scores(objective, {"a": MAPS})
    wanted = np.abs(MAPS[..., [1, 4]] - 0.25).sum((1, 2, 3))
    np.testing.assert_allclose(found, [wanted])


def test_only_the_opacity_is_drawn_to_its_blur():
    def cost(images):
        objective = fv.penalty_on(fv.blur_penalty(), channels=-1)
        bound = objective.bound(Shapes({}, None, images.shape[1:]))
        return evaluate(bound, View({}, None, images[None], 0), 1).sum()

    images = jnp.asarray(PICTURES)
    slope = np.asarray(jax.grad(cost)(images))
    np.testing.assert_array_equal(slope[..., :3], 0.0)
    # A step of size 1 replaces the opacity by its blur, as lucid's does.
    after = PICTURES[..., 3] - slope[..., 3]
    blurred = [penalties.rim_blur(p[..., None], 3)[..., 0] for p in PICTURES[..., 3]]
    np.testing.assert_allclose(after, blurred, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: fv.penalty_on("a:3", channels=0), TypeError, "an objective of images"),
        (lambda: fv.penalty_on(fv.norm(), channels=0.0), TypeError, r"0\.0 was given"),
        (
            lambda: fv.penalty_on(fv.norm(), channels="rgb"),
            TypeError,
            "'rgb' was given",
        ),
        (lambda: fv.penalty_on(fv.norm(), channels=[]), ValueError, "at least one"),
        (lambda: fv.penalty_on(fv.norm(), channels=np.ones(2)), TypeError, "was given"),
        (
            lambda: fv.penalty_on(fv.penalty_on(fv.norm(1), site="a"), channels=0),
            ValueError,
            r"(?s)reads 'a'\..*`penalty_on\(penalty, site=site",
        ),
        (lambda: fv.penalty_on(fv.norm(), channels=[1, 1]), ValueError, "named once"),
    ],
)
def test_channels_that_are_none(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        (4, r"no channel for penalty_on\(\) 4: there are 4, 0..3"),
        ([0, -4], "names one twice"),
    ],
)
def test_channels_that_pictures_do_not_have(channels, message):
    with pytest.raises(ValueError, match=message):
        fv.penalty_on(fv.norm(), channels=channels).bound(Shapes({}, None, (6, 5, 4)))
