"""Owen values of segments in groups: games in closed form, and nested patches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.attribution import owen, shapley
from jaxinterp.objectives import total
from jaxinterp.perturbation.segments import grid_segments, segment_sums
from tests.compiled import compiled
from tests.networks import functions as models
from tests.oracles.shapley import shapley_by_permutations

KEY = jax.random.key(3)
WEIGHTS, X, TARGET = models.cnn_weights(), models.images(), models.targets()


def of(game):
    return lambda variables, x: game(x)


@pytest.mark.parametrize("kind", ["and", "or"])
def test_groups_share_a_gate_equally_and_their_features_what_they_get(kind):
    gate = ji.data.Gate(kind, connected=4, irrelevant=2)
    groups = [np.array([0, 0, 0, 1, 1, 2])]
    attribute = owen(of(gate), groups=groups, score=total)
    received = attribute(None, np.ones((1, 6)))
    expected = [1 / 6, 1 / 6, 1 / 6, 1 / 2, 0, 0]
    np.testing.assert_allclose(received, [expected], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("groups", [[], [np.arange(5)], [np.zeros(5, int)]])
def test_without_a_hierarchy_they_are_the_shapley_values_in_closed_form(groups):
    game = ji.data.SobolG()
    x = game.sample(jax.random.key(0), 3)
    # the baseline at which every factor is its mean
    attribute = compiled(owen(of(game), groups=groups, baseline=0.75, score=total))
    np.testing.assert_allclose(attribute(None, x), game.shapley(x), atol=1e-12)


def test_patches_are_players_whose_values_add_up_to_those_of_their_groups():
    fine, coarse = grid_segments((6, 6), 2), grid_segments((6, 6), 4)
    options = {"segments": fine, "baseline": 0.3}
    attribute = compiled(owen(models.cnn, groups=[coarse], **options))
    received = attribute(WEIGHTS, X, TARGET)
    of_groups = compiled(shapley(models.cnn, segments=coarse, baseline=0.3))
    np.testing.assert_allclose(
        segment_sums(received, coarse),
        segment_sums(of_groups(WEIGHTS, X, TARGET), coarse),
        rtol=1e-9,
    )
    alone = compiled(shapley(models.cnn, **options))(WEIGHTS, X, TARGET)
    assert np.abs(alone - received).max() > 1e-5


def test_they_are_the_mean_over_orders_within_groups():
    w, x = models.mlp_weights(), models.vectors()
    levels = [np.array([0, 0, 0, 1, 1]), np.array([0, 1, 1, 2, 2])]
    received = compiled(owen(models.mlp, groups=levels, baseline=0.2))(w, x, TARGET)

    def value(joined):
        keep = np.isin(np.arange(5), list(joined))
        outputs = models.mlp(w, np.where(keep[None], x, 0.2))
        return np.asarray(outputs)[np.arange(3), TARGET]

    expected = shapley_by_permutations(5, lambda s: value(s)[0], levels)
    np.testing.assert_allclose(received[0], expected, rtol=1e-9)


def test_random_orders_are_unbiased_and_add_up():
    w, x = models.mlp_weights(), models.vectors()
    options = {"groups": [np.array([0, 0, 1, 1, 1])], "baseline": 0.2}
    exact = compiled(owen(models.mlp, **options))(w, x, TARGET)
    attribute = owen(models.mlp, samples=4, **options)
    keys = jax.random.split(KEY, 200)
    each = compiled(jax.vmap(lambda key: attribute(w, x, TARGET, key)))(keys)
    error = each.std(0) / 200**0.5
    assert (np.abs(each.mean(0) - exact) < 5 * error + 1e-12).all()
    whole = jnp.broadcast_to(exact.sum(1)[None], each.shape[:2])
    np.testing.assert_allclose(each.sum(2), whole, rtol=1e-9)


def test_without_groups_random_orders_are_those_of_shapley():
    w, x = models.mlp_weights(), models.vectors()
    received = owen(models.mlp, groups=(), samples=3)(w, x, TARGET, KEY)
    expected = shapley(models.mlp, samples=3)(w, x, TARGET, KEY)
    np.testing.assert_array_equal(received, expected)


def test_tokens_and_sites_are_explained():
    w, x = models.token_weights(), models.tokens()
    groups = [np.array([0, 0, 1, 1])]
    tokens = owen(models.tagger, groups=groups, baseline=5)(w, x, TARGET)
    assert tokens.dtype == jnp.float64
    options = {"groups": groups, "segments": np.arange(4)}
    at_site = owen(models.tagger, at="embed", **options)(w, x, TARGET)

    def rest(v, e):
        return jnp.tanh(e @ v["mix"]["w"]).mean(1) @ v["head"]["w"]

    expected = owen(rest, **options)(w, w["embed"][x], TARGET)
    np.testing.assert_allclose(at_site, expected, atol=1e-12)


def test_an_empty_batch_has_no_attributions():
    empty = models.mlp_weights(), models.vectors()[:0], TARGET[:0]
    assert owen(models.mlp, groups=[np.zeros(5, int)])(*empty).shape == (0, 5)


def test_what_does_not_fit_is_an_error():
    args = models.mlp_weights(), models.vectors(), TARGET
    one = [np.zeros(5, int)]
    with pytest.raises(TypeError, match=r"list of segment maps(.|\n)*`groups=\[map\]`"):
        owen(models.mlp, groups=np.zeros(5, int))
    with pytest.raises(ValueError, match="`samples` must be"):
        owen(models.mlp, groups=one, samples=0)
    with pytest.raises(ValueError, match="`batch_size` must be"):
        owen(models.mlp, groups=one, batch_size=0)
    with pytest.raises(TypeError, match="needs one key"):
        owen(models.mlp, groups=one, samples=2)(*args)
    with pytest.raises(ValueError, match=r"72 segments.*gains"):
        owen(models.cnn, groups=[])(WEIGHTS, X, TARGET)
    with pytest.raises(ValueError, match="and each segment lies in one group"):
        owen(models.mlp, groups=[np.arange(5)], segments=np.zeros(5, int))(*args)
    with pytest.raises(ValueError, match="does not broadcast"):
        owen(models.mlp, groups=one, baseline=np.zeros(4))(*args)
    with pytest.raises(TypeError, match="array of integers"):
        owen(models.mlp, groups=[np.zeros(5)])(*args)
