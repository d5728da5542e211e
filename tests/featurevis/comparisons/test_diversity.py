"""Objectives of groups, against loops over pairs of images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.featurevis.comparisons.alignment import alignment
from jaxinterp.featurevis.comparisons.diversity import diversity
from jaxinterp.featurevis.comparisons.for_images import for_images
from jaxinterp.featurevis.comparisons.interpolate import interpolate
from jaxinterp.objectives.evaluate import count_units, evaluate
from jaxinterp.objectives.objective import Shapes, View, schedule
from jaxinterp.objectives.output import output
from jaxinterp.objectives.unit import channel, layer
from tests.objectives.views import bind, scores
from tests.oracles import feature_objectives as oracle

RNG = np.random.default_rng(0)
MAPS = RNG.normal(size=(6, 4, 7, 5))
TOKENS = RNG.normal(size=(6, 8, 5))
VECTORS = RNG.normal(size=(6, 5))
ALL = {"maps": MAPS, "tokens": TOKENS, "vectors": VECTORS}


@pytest.mark.parametrize("name", ALL)
def test_diversity_is_that_of_lucid_negated(name):
    a = ALL[name]
    found = scores(diversity("a"), {"a": a})[0]
    np.testing.assert_allclose(found.mean(), -oracle.diversity(a), rtol=1e-12)


def test_a_picture_is_told_what_it_has_in_common_with_the_others():
    a = MAPS.copy()
    a[3] = 2 * a[1]  # a texture is not a matter of size
    found = scores(diversity("a"), {"a": a})[0]
    for i in range(6):
        pairs = [oracle.diversity(a[[i, j]]) for j in range(6) if j != i]
        np.testing.assert_allclose(found[i], -sum(pairs), rtol=1e-12)
    np.testing.assert_allclose(oracle.diversity(a[[1, 3]]), 1.0)


def test_diversity_goes_from_all_alike_to_nothing_in_common():
    same = np.broadcast_to(np.abs(MAPS[:1]), MAPS.shape)
    np.testing.assert_allclose(scores(diversity("a"), {"a": same})[0], -5.0)
    own = np.zeros((4, 2, 3, 4))
    for i in range(4):
        own[i, ..., i] = 1.0  # each has a channel of its own
    np.testing.assert_array_equal(scores(diversity("a"), {"a": own})[0], 0.0)


@pytest.mark.parametrize("make", [diversity, alignment])
def test_a_single_picture_has_nothing_to_compare(make):
    with pytest.raises(ValueError, match=r"there is one.\nWrite `maximize\(.*count=4"):
        scores(channel("a", 0) + 0.1 * make("a"), {"a": MAPS[:1]})


def test_pictures_of_a_group_may_look_for_different_things():
    objective = for_images("a:3", 0) + for_images(channel("a", [1, 2]), [4, -1])
    found = scores(objective + 0.1 * alignment("a"), {"a": MAPS})
    apart = scores(0.1 * alignment("a"), {"a": MAPS})[0]
    means = MAPS.mean(axis=(1, 2))
    for unit, index in enumerate((1, 2)):
        wanted = apart.copy()
        wanted[0] += means[0, 3]
        wanted[[4, 5]] += means[[4, 5], index]
        np.testing.assert_allclose(found[unit], wanted, rtol=1e-12)


def test_what_compares_pictures_compares_those_alone():
    found = scores(for_images(diversity("a"), [1, 4, 5]), {"a": MAPS})[0]
    few = scores(diversity("a"), {"a": MAPS[[1, 4, 5]]})[0]
    np.testing.assert_allclose(found[[1, 4, 5]], few, rtol=1e-12)
    np.testing.assert_array_equal(found[[0, 2, 3]], 0)


def test_steps_and_outputs_are_seen_through_for_images():
    late = schedule(lambda step: 1.0 * step) * output(1)
    outputs = RNG.normal(size=(3, 4))
    found = scores(for_images(late, 2), {}, outputs, step=5)
    np.testing.assert_allclose(found, [[0, 0, 5 * outputs[2, 1]]], rtol=1e-6)


@pytest.mark.parametrize(
    ("pictures", "error", "message"),
    [
        (1.5, TypeError, r"\[0, 2\].*1.5 was given"),
        ([True], TypeError, "True"),
        ([], ValueError, "at least one"),
        ([1, 1], ValueError, "named once"),
    ],
)
def test_pictures_that_cannot_be_named(pictures, error, message, unchecked):
    with pytest.raises(error, match=message):
        for_images("a:0", pictures)


@pytest.mark.parametrize("number", [6, -7])
def test_pictures_that_are_not_there(number):
    with pytest.raises(ValueError, match=r"are 6 of each unit.\nWrite `count=7`"):
        scores(for_images("a:0", number), {"a": MAPS})
    with pytest.raises(ValueError, match=r"of 6 images, \[0, -6\] names one twice"):
        scores(for_images("a:0", [0, -6]), {"a": MAPS})


@pytest.mark.parametrize("pictures", [range(1, 3), np.array([2, 1]), jnp.array([1, 2])])
def test_a_range_or_an_array_of_pictures(pictures):
    found = scores(for_images("a:0", pictures), {"a": MAPS})[0]
    assert np.flatnonzero(found).tolist() == [1, 2]


def test_what_compares_says_so():
    alone = channel("a", 0) * 2
    assert not alone.compares
    for objective in (
        alone - diversity("a"),
        alignment("a") / 2,
        interpolate("a:0", "a:1"),
        for_images("a:0", 1),
    ):
        assert objective.compares


def test_dead_activations_have_a_finite_gradient():
    def total(a):
        return diversity("a")(View({"a": a}, None, jnp.zeros((3, 2)), 0)).sum()

    slope = jax.grad(total)(jnp.zeros((3, 4, 5)))
    np.testing.assert_array_equal(slope, 0)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(("decay", "reach"), [(2.0, 4), (3.0, 1), (1.5, 9)])
def test_alignment_is_that_of_lucid(name, decay, reach):
    a = ALL[name]
    found = scores(alignment("a", decay=decay, reach=reach), {"a": a})[0]
    expected = oracle.alignment(a, decay, reach)
    np.testing.assert_allclose(found.sum(), expected, rtol=1e-12)


def test_alignment_is_shared_among_the_two_of_a_pair():
    a = np.zeros((3, 2))
    a[0] = 1.0
    found = scores(alignment("a", reach=2), {"a": a})[0]
    np.testing.assert_allclose(found, [-(0.25 + 0.125), -0.25, -0.125])


def test_interpolation_goes_from_one_objective_to_the_other():
    one, two = MAPS.mean((1, 2))[:, 1], (MAPS**2).mean((1, 2, 3))
    found = scores(interpolate("a:1", layer("a")), {"a": MAPS})[0]
    share = np.arange(6) / 5
    np.testing.assert_allclose(found, (1 - share) * one + share * two, rtol=1e-12)
    first = scores(interpolate("a:1", layer("a")), {"a": MAPS[:1]})[0]
    np.testing.assert_allclose(first, one[:1])


def test_interpolation_reads_what_both_read():
    assert interpolate("a:1", channel("b", 2) + layer("a")).sites == ("a", "b")
    assert interpolate(output(1), output(2)).sites == ()
    bound = bind(interpolate("a:*", "b:0"), {"a": MAPS, "b": TOKENS})
    assert count_units(bound) == 5


def test_groups_of_units_do_not_mix():
    shapes = Shapes({"a": (4, 7, 5)}, None, (1,))
    objective = (
        channel("a", [0, 1]) + 3 * diversity("a") + alignment("a", reach=2)
    ).bound(shapes)
    groups = RNG.normal(size=(2, 3, 4, 7, 5))
    images = np.zeros((2, 3, 1))
    together = evaluate(objective, View({"a": groups}, None, images, 0), 2)
    for i in range(2):
        one = channel("a", i) + 3 * diversity("a") + alignment("a", reach=2)
        expected = scores(one, {"a": groups[i]})
        np.testing.assert_allclose(together[i], expected[0], rtol=1e-12)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_precision_is_float32_at_least(dtype, strict_promotion):
    a = jnp.asarray(MAPS, dtype)
    exact = {"a": np.asarray(a, np.float64)}
    for objective in (diversity("a"), alignment("a"), interpolate("a:1", "a:2")):
        found = scores(objective, {"a": a})
        assert found.dtype == np.float32
        np.testing.assert_allclose(
            found, scores(objective, exact), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize(
    "numbers", [{"decay": 0.0}, {"reach": 0}, {"reach": 0.5}, {"decay": -1.0}]
)
def test_what_alignment_takes(numbers):
    with pytest.raises(ValueError, match=f"alignment: `{next(iter(numbers))}` must be"):
        alignment("a", **numbers)


def test_interpolation_is_of_objectives(unchecked):
    with pytest.raises(TypeError, match="An objective was expected, and 3 was given"):
        interpolate("a:1", 3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="names a site and no channel"):
        interpolate("a", "a:1")


def test_diversity_needs_channels():
    with pytest.raises(ValueError, match="has no channels"):
        bind(diversity("a"), {"a": np.ones(3)})
