"""Path similarity against rank correlations of all pairs, in NumPy."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp import featurevis as fv
from jaxinterp.featurevis.quality.path_similarity import PathSimilarity, path_similarity
from jaxinterp.models import with_preprocess
from jaxinterp.tracing.errors import AddressError
from tests.networks.images import NET, VARIABLES, noise, tanh_model

KEY = jax.random.key(5)


def mean_ranks(x: np.ndarray) -> np.ndarray:
    """The place of each number in the order, ties sharing the mean of theirs."""
    return np.array([(x < v).sum() + ((x == v).sum() + 1) / 2 for v in x])


def spearman(x: Any, y: Any) -> float:
    return np.corrcoef(mean_ranks(np.ravel(x)), mean_ranks(np.ravel(y)))[0, 1]


def textbook_paths(made: Any, natural: Any, arbitrary: Any) -> list[Any]:
    """The three similarities of one unit at one site, over all pairs."""
    pairs = [(y, z) for i, y in enumerate(natural) for z in natural[:i]]
    return [
        np.mean([spearman(x, y) for x in made for y in natural]),
        np.mean([spearman(y, z) for y, z in pairs]),
        np.mean([spearman(y, z) for y in natural for z in arbitrary]),
    ]


SMALL = (4, 5, 3)


def small_paths(**options: Any) -> tuple[PathSimilarity, dict[str, Any]]:
    """Similarities in a small network, and activations `(sites, pictures, ...)`."""
    made = noise(6, shape=SMALL)
    natural = noise(3, 4, shape=SMALL, seed=1) ** 3
    arbitrary = noise(5, shape=SMALL, seed=2)
    w = jax.random.normal(KEY, (3, 2), jnp.float32)

    def model(w: Any, x: Any) -> Any:
        return jax.nn.relu(jnp.tanh((x - 0.5) @ w))

    found = path_similarity(
        model, "*", w, made, natural, arbitrary=arbitrary, count=2, **options
    )
    flat = jnp.concatenate([made, natural.reshape(12, *SMALL), arbitrary])
    x = flat - 0.5
    sites = {"sub": x, "dense": x @ w, "tanh": jnp.tanh(x @ w), "relu": model(w, flat)}
    return found, sites


@pytest.mark.parametrize("batch_size", [None, 6, 13])
def test_paths_are_compared_as_over_all_pairs(batch_size):
    found, sites = small_paths(batch_size=batch_size)
    assert {"tanh", "relu"} <= set(found.sites) <= set(sites)
    for i, site in enumerate(found.sites):
        activations = np.asarray(sites[site])
        made, natural, arbitrary = np.split(activations, [6, 18])
        for unit in range(3):
            expected = textbook_paths(
                made[2 * unit : 2 * unit + 2],
                natural[4 * unit : 4 * unit + 4],
                arbitrary,
            )
            parts = (found.made, found.natural, found.arbitrary)
            got = [float(part[i, unit]) for part in parts]
            np.testing.assert_allclose(got, expected, atol=2e-6)


def test_relative_similarity_goes_from_arbitrary_to_natural():
    similarity = PathSimilarity(
        ("a", "b"),
        jnp.array([[0.3, 0.5], [0.7, 0.1]]),
        jnp.array([[0.5, 0.5], [0.9, 0.1]]),
        jnp.array([[0.1, 0.1], [0.5, 0.2]]),
    )
    relative = [[0.5, 1.0], [0.5, np.nan]]
    np.testing.assert_allclose(similarity.relative, relative, rtol=1e-6)
    overall = similarity.overall
    np.testing.assert_allclose(overall.made, [[0.5, 0.3]])
    np.testing.assert_allclose(overall.relative, [[0.5, 1.0]], rtol=1e-6)
    assert str(similarity).splitlines()[2].split() == [
        "a",
        "0.40",
        "0.50",
        "0.10",
        "0.75",
    ]
    assert "<td>0.75</td>" in similarity._repr_html_()


@pytest.mark.slow(reason="compiles paths of two kinds of images")
def test_a_picture_on_the_path_of_natural_ones_scores_higher_than_one_that_is_not():
    # One half of the units sees the red channel, one half the blue.
    w = jnp.asarray(np.repeat(np.eye(3)[:, [0, 2]], 4, axis=1), jnp.float32)
    red = noise(1, 6, shape=(4, 5, 1)) * jnp.array([[[[[1.0, 0.2, 0.1]]]]])
    blue = red[..., ::-1]
    arbitrary = noise(8, shape=SMALL, seed=4)
    compare = functools.partial(
        path_similarity, tanh_model, "tanh", w, natural=red[:, :4], arbitrary=arbitrary
    )
    on_path, off_path = compare(red[0, 4:5]), compare(blue[0, 4:5])
    assert on_path.relative[0, 0] > 0.8
    assert off_path.relative[0, 0] < 0


def test_a_dead_layer_has_no_path():
    made, natural = noise(1, shape=SMALL), noise(1, 2, shape=SMALL)
    found = path_similarity(lambda w, x: jax.nn.relu(x - 2), "*", None, made, natural)
    dead = found.sites.index("relu")
    assert np.isnan(found.made[dead]).all()
    assert np.isnan(found.natural[dead]).all()
    assert not np.isnan(found.made[1 - dead]).any()
    assert found.arbitrary is None
    assert found.relative is None
    np.testing.assert_array_equal(found.overall.made[0], found.made[1 - dead])
    row = str(found).splitlines()[2 + dead].split()
    assert row == ["relu", "none", "none"]


@pytest.mark.slow(reason="compiles a network three times; each is tested alone")
def test_paths_in_a_network_with_a_glob_a_selector_and_preprocessing():
    made, natural = noise(2), noise(2, 3, seed=1)
    found = path_similarity(
        with_preprocess(NET.apply, lambda x: 2 * x - 1),
        *("relu*", VARIABLES, made, natural),
        batch_size=4,
    )
    assert len(found.sites) == 2
    assert found.made.shape == (2, 2)
    assert found.made.dtype == jnp.float32
    shown = 2 * made - 1, 2 * natural - 1
    direct = path_similarity(NET.apply, "relu*", VARIABLES, *shown)
    np.testing.assert_allclose(found.made, direct.made, atol=1e-5)
    inner = jax.jit(
        lambda variables: path_similarity(
            *(NET.apply, "relu*", variables, *shown), arbitrary=shown[0]
        )
    )(VARIABLES)
    assert inner.sites == direct.sites
    np.testing.assert_allclose(inner.natural, direct.natural, atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float64])
def test_paths_in_other_precisions(dtype):
    w = jnp.eye(3, dtype=dtype)
    made, natural = (
        noise(1, shape=SMALL, dtype=dtype),
        noise(1, 3, shape=SMALL, dtype=dtype),
    )
    found = path_similarity(tanh_model, "tanh", w, made, natural)
    assert found.made.dtype == jnp.promote_types(dtype, jnp.float32)
    activations = np.asarray(jnp.tanh(jnp.concatenate([made, natural[0]])), np.float64)
    expected = np.mean([spearman(activations[0], y) for y in activations[1:]])
    np.testing.assert_allclose(found.made[0, 0], expected, atol=1e-5)


@pytest.mark.parametrize(
    "shape", [(2, 3, 4, 5, 3), (1, 1, 4, 5, 3), (1, 3, 5, 4, 3), (3, 4, 5, 3)]
)
def test_natural_pictures_fit_the_made_ones(shape):
    with pytest.raises(ValueError, match=r"`crops\(batches, examples\.top\)`"):
        path_similarity(
            *(tanh_model, "tanh", jnp.eye(3), noise(1, shape=SMALL)),
            jnp.ones(shape, jnp.float32),
        )


@pytest.mark.parametrize("shape", [(2, 5, 4, 3), (0, *SMALL)])
def test_arbitrary_pictures_fit_the_made_ones(shape):
    with pytest.raises(ValueError, match="`arbitrary` has natural images"):
        path_similarity(
            *(tanh_model, "tanh", jnp.eye(3), noise(1, shape=SMALL)),
            noise(1, 2, shape=SMALL),
            arbitrary=jnp.ones(shape, jnp.float32),
        )


@pytest.mark.slow(reason="compiles paths of two kinds of images")
def test_arbitrary_pictures_are_others():
    natural = noise(2, 3, shape=SMALL)
    arbitrary = jnp.concatenate([noise(2, shape=SMALL, seed=9), natural[1, 1:]])
    compare = functools.partial(
        path_similarity, tanh_model, "tanh", jnp.eye(3), noise(2, shape=SMALL)
    )
    with pytest.raises(ValueError, match=r"Image 2 of `arbitrary` \(and 1 others\)"):
        compare(natural, arbitrary=arbitrary)
    found = fv.dataset_examples(
        tanh_model, "tanh:0,1", jnp.eye(3), [arbitrary], k=2, progress=False
    )
    kept = np.delete(arbitrary, np.unique(found.top.indices), axis=0)
    crops = jnp.asarray(fv.crops([arbitrary], found.top))
    assert compare(crops, arbitrary=kept).arbitrary.shape == (1, 2)


def test_a_site_that_does_not_exist_is_named():
    with pytest.raises(AddressError, match="nowhere"):
        path_similarity(
            *(tanh_model, "nowhere*", jnp.eye(3), noise(1, shape=SMALL)),
            noise(1, 2, shape=SMALL),
        )
