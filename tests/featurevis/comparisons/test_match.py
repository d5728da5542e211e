"""Objectives that compare images, against sums written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.featurevis.comparisons.caricature import caricature
from jaxinterp.featurevis.comparisons.facet import facet
from jaxinterp.featurevis.comparisons.match import match
from jaxinterp.featurevis.comparisons.style import style
from jaxinterp.objectives.evaluate import count_units
from jaxinterp.objectives.objective import View
from tests.objectives.views import alone, bind, scores
from tests.oracles import feature_objectives as oracle

RNG = np.random.default_rng(0)
MAPS = RNG.normal(size=(3, 4, 7, 5))
TOKENS = RNG.normal(size=(3, 6, 5))
VECTORS = RNG.normal(size=(3, 5))
ALL = {"maps": MAPS, "tokens": TOKENS, "vectors": VECTORS}


def targets(a):
    return RNG.normal(size=(2, *a.shape[1:]))


@pytest.mark.parametrize("name", ALL)
def test_style_is_the_term_of_gatys(name):
    a, target = ALL[name], targets(ALL[name])
    found = scores(style("a", target), {"a": a})
    expected = [[oracle.style(one, t) for one in a] for t in target]
    np.testing.assert_allclose(found, expected, rtol=1e-11)


@pytest.mark.parametrize("name", ALL)
def test_style_can_be_absolute(name):
    a, target = ALL[name], targets(ALL[name])
    found = scores(style("a", target, power=1), {"a": a})
    expected = [
        [-np.abs(oracle.gram(one) - oracle.gram(t)).mean() for one in a] for t in target
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-11)
    with pytest.raises(ValueError, match="`power` must be an integer of at least 1"):
        style("a", target, power=0)


def test_style_is_a_matter_of_neither_place_nor_size():
    shuffled = MAPS.reshape(3, 28, 5)[:, RNG.permutation(28)]
    found = scores(style("a", shuffled), {"a": MAPS})
    np.testing.assert_allclose(np.diag(found), 0, atol=1e-28)
    twice = np.concatenate([MAPS, MAPS], axis=2)
    found = scores(style("a", twice), {"a": MAPS})
    np.testing.assert_allclose(np.diag(found), 0, atol=1e-28)
    assert (found + np.eye(3) <= 1).all()
    assert found[0, 1] < -1e-6


@pytest.mark.parametrize("name", ALL)
def test_a_match_is_a_share_of_the_target(name):
    a, target = ALL[name], targets(ALL[name])
    found = scores(match("a", target), {"a": a})
    expected = [[oracle.match(one, t) for one in a] for t in target]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_array_equal(np.diag(scores(match("a", a), {"a": a})), 0)
    np.testing.assert_allclose(scores(match("a", a), {"a": 0 * a}), -1)


def test_a_target_of_zeros_is_not_divided_by():
    found = scores(match("a", np.zeros((1, 5))), {"a": VECTORS})
    np.testing.assert_allclose(found[0], -(VECTORS**2).sum(1))


@pytest.mark.parametrize("power", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("name", ALL)
def test_a_caricature_agrees_as_a_whole(name, power):
    a, target = ALL[name], targets(ALL[name])
    found = scores(caricature("a", target, cosine_power=power), {"a": a})
    expected = [
        [oracle.dot_cosine(one.ravel(), t.ravel(), power) for one in a] for t in target
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-11)


def test_a_caricature_exaggerates_and_a_match_does_not():
    a = np.concatenate([MAPS[:1], 2 * MAPS[:1]])
    made = scores(caricature("a", MAPS[:1]), {"a": a})[0]
    np.testing.assert_allclose(made[1], 2 * made[0], rtol=1e-12)
    assert scores(match("a", MAPS[:1]), {"a": a})[0, 1] < 0


WEIGHTS = RNG.normal(size=(5, 2))


def tail(a):
    return jnp.tanh(a.mean((1, 2)) @ WEIGHTS)[:, 1]


def test_a_facet_weighs_contributions():
    probe = RNG.normal(size=(2, 5))
    found = scores(facet("a", tail, probe), {"a": MAPS})
    score = np.tanh(MAPS.mean((1, 2)) @ WEIGHTS)[:, 1]
    slope = (1 - score**2)[:, None] * WEIGHTS[:, 1] / 28
    expected = [
        [
            oracle.facet(a, s, np.broadcast_to(g, a.shape), w)
            for a, s, g in zip(MAPS, score, slope, strict=True)
        ]
        for w in probe
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    entries = np.broadcast_to(probe[:, None, None, :], (2, 4, 7, 5))
    by_entry = scores(facet("a", tail, entries), {"a": MAPS})
    np.testing.assert_allclose(by_entry, found, rtol=1e-12)


def test_a_facet_without_a_probe_is_the_score():
    found = scores(facet("a", tail, np.zeros(5)), {"a": MAPS})
    np.testing.assert_allclose(found[0], tail(MAPS), rtol=1e-12)


def test_the_derivative_in_a_facet_is_held_constant():
    probe = RNG.normal(size=5)
    one = jax.tree.map(lambda leaf: leaf[0], facet("a", tail, probe))

    def total(a):
        return one(View({"a": a}, None, jnp.zeros((3, 1)), 0)).sum()

    slope = jax.grad(lambda a: tail(a).sum())(MAPS)
    expected = np.asarray(slope) * (1 + probe)
    np.testing.assert_allclose(jax.grad(total)(jnp.asarray(MAPS)), expected, rtol=1e-12)


def test_a_facet_of_a_model_that_is_split():
    def model(w, x):
        return jax.nn.relu(jnp.tanh(x) @ w)

    x, w = RNG.normal(size=(3, 5)), WEIGHTS
    encode, decode = ji.split(model, "tanh")
    inputs = jnp.zeros_like(x)
    objective = facet("tanh", lambda a: decode(w, a, inputs)[:, 1], np.ones(5))
    found = scores(objective, {"tanh": encode(w, x)})
    # A relu without bias is what its inputs contribute, so it counts twice.
    np.testing.assert_allclose(found[0], 2 * model(w, x)[:, 1], rtol=1e-12)


@pytest.mark.parametrize(
    "objective",
    [
        style("a", RNG.normal(size=(2, 9, 5))),
        match("a", RNG.normal(size=(2, 4, 7, 5))),
        caricature("a", RNG.normal(size=(2, 4, 7, 5)), cosine_power=2.0),
        facet("a", tail, RNG.normal(size=(2, 5))),
    ],
)
def test_units_and_pictures_are_independent(objective):
    activations = {"a": MAPS}
    together = scores(objective, activations)
    np.testing.assert_allclose(together, alone(objective, activations), rtol=1e-12)
    for i in range(3):
        one = scores(objective, {"a": MAPS[i : i + 1]})
        np.testing.assert_allclose(together[:, i : i + 1], one, rtol=1e-12)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_precision_is_float32_at_least(dtype, strict_promotion):
    a = jnp.asarray(MAPS, dtype)
    exact = {"a": np.asarray(a, np.float64)}
    for target in (a[:1], np.asarray(a[:1], np.float64)):
        for make in (style, match, caricature):
            found = scores(make("a", target), {"a": a})
            assert found.dtype == np.float32
            expected = scores(make("a", exact["a"][:1]), exact)
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    found = scores(facet("a", lambda a: a.mean((1, 2, 3)), np.ones(5)), {"a": a})
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], 2 * exact["a"].mean((1, 2, 3)), atol=5e-3)


def test_what_capture_returns_is_a_target():
    def model(_, x):
        return jnp.tanh(x)

    _, found = ji.capture(model, "tanh")(None, MAPS)
    for make in (style, match, caricature):
        objective = make("tanh", found["tanh"])
        assert count_units(bind(objective, found)) == 3
        assert np.argmax(scores(match("tanh", found["tanh"]), found), 1).tolist() == [
            0,
            1,
            2,
        ]


@pytest.mark.parametrize("make", [style, match, caricature])
def test_a_target_has_the_units_first(make, unchecked):
    with pytest.raises(ValueError, match=rf"(?s)units first.*{make.__name__}\(site"):
        make("a", VECTORS[0])
    with pytest.raises(TypeError, match="The target is an array of real numbers"):
        make("a", "painting")


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (style("a", np.ones((1, 3, 4))), "has 4 channels, and 'a' has 5"),
        (match("a", MAPS[:, :3]), r"\(3, 7, 5\) for each unit, and 'a' has"),
        (caricature("a", MAPS[:, :3]), "Capture it at the same site"),
        (facet("a", tail, np.ones(4)), r"one weight for each channel, \(5,\)"),
    ],
)
def test_what_does_not_fit_is_an_error(objective, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        bind(objective, {"a": MAPS})


def test_the_tail_of_a_facet(unchecked):
    with pytest.raises(TypeError, match=r"(?s)`tail` is the model.*jaxinterp\.split"):
        facet("a", 3, np.ones(5))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"(?s)\(3,\), and gave \(3, 4, 7, 5\)"):
        scores(facet("a", lambda a: a, np.ones(5)), {"a": MAPS})
