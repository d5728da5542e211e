"""Shapley values of games in closed form, of all coalitions and of random orders."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.attribution import shapley
from jaxinterp.data.products import Gate, SobolG
from jaxinterp.data.tabular import Ishigami
from jaxinterp.objectives import total
from jaxinterp.perturbation.segments import grid_segments, segment_sums
from tests.compiled import compiled
from tests.networks import functions as models
from tests.oracles.shapley import shapley_by_permutations

KEY = jax.random.key(3)

# Features are independent and enter as factors, so that the baseline whose factors are
# their means makes the game with one baseline that with all the data.
GAMES = {
    "and": (Gate("and", connected=3, irrelevant=1, probability=0.3), 0.3),
    "or": (Gate("or", connected=2, irrelevant=2, probability=0.6), 0.6),
    "xor": (Gate("xor", connected=4, probability=0.25), 0.25),
    "sobol": (SobolG(), 0.75),
    "ishigami": (Ishigami(), np.array([0.0, np.pi / 4, np.pi / 5**0.25])),
}


def of(game):
    return lambda variables, x: game(x)


@pytest.mark.parametrize("name", GAMES)
def test_all_coalitions_give_the_closed_form(name):
    game, baseline = GAMES[name]
    x = game.sample(jax.random.key(0), 3)
    attribute = compiled(shapley(of(game), baseline=baseline, score=total))
    np.testing.assert_allclose(attribute(None, x), game.shapley(x), atol=1e-12)


@pytest.mark.parametrize("name", ["xor", "sobol"])
def test_random_orders_come_close_to_the_closed_form(name):
    game, baseline = GAMES[name]
    x = game.sample(jax.random.key(0), 2)
    expected = game.shapley(x)
    options = {"baseline": baseline, "score": total}

    def errors(samples):
        attribute = shapley(of(game), samples=samples, **options)
        keys = jax.random.split(KEY, 40)
        each = jax.vmap(lambda key: attribute(None, x, None, key))(keys)
        return np.asarray(each) - np.asarray(expected)

    few, more = errors(4), errors(64)
    scatter = more.std(0)
    # the mean over 40 keys, within five standard errors: it is unbiased
    assert (np.abs(more.mean(0)) <= 5 * scatter / 40**0.5 + 1e-12).all()
    # sixteen times the orders, a quarter of the scatter
    assert 0.15 < scatter.max() / few.std(0).max() < 0.4


def test_one_pair_of_orders_is_exact_if_pairs_interact():
    def quadratic(w, x):
        return jnp.einsum("bi,ij,bj->b", x, w, x)

    w, x = models.normal(0, 5, 5), models.vectors()
    exact = shapley(quadratic, score=total)(w, x)
    pair = shapley(quadratic, score=total, samples=2)(w, x, key=KEY)
    np.testing.assert_allclose(pair, exact, rtol=1e-10)


def test_segments_are_players_and_their_values_add_up():
    weights, x = models.cnn_weights(), models.images()
    segments = grid_segments((6, 6), 3)
    segments[0, 0] = -1
    target = models.targets()
    attribute = compiled(shapley(models.cnn, segments=segments, baseline=0.3))
    received = attribute(weights, x, target)
    np.testing.assert_array_equal(received[:, 0, 0], 0)

    def value(joined):
        keep = np.isin(segments, list(joined)) | (segments < 0)
        hidden = np.where(keep[None, ..., None], x, 0.3)
        return np.asarray(models.cnn(weights, hidden))[np.arange(3), target]

    expected = np.stack(
        [shapley_by_permutations(4, lambda s, i=i: value(s)[i]) for i in range(3)]
    )
    np.testing.assert_allclose(segment_sums(received, segments), expected, rtol=1e-9)
    np.testing.assert_allclose(
        received.sum((1, 2, 3)), value(range(4)) - value(()), rtol=1e-9
    )


def test_examples_may_have_segments_of_their_own():
    weights, x, target = models.mlp_weights(), models.vectors(), models.targets()
    maps = np.array([[0, 0, 1, 1, 2], [1, 1, 1, 0, 2], [0, 0, 0, 0, 1]])
    received = shapley(models.mlp, segments=maps)(weights, x, target)
    for i, row in enumerate(maps):
        alone = shapley(models.mlp, segments=row)(weights, x[i : i + 1], target[i])
        np.testing.assert_allclose(received[i], alone[0], atol=1e-12)


def test_tokens_are_explained_with_another_token_in_their_place():
    weights, tokens, target = models.token_weights(), models.tokens(), models.targets()
    received = shapley(models.tagger, baseline=5)(weights, tokens, target)
    assert received.shape == tokens.shape
    assert received.dtype == jnp.float64
    rows = np.arange(3)
    full = models.tagger(weights, tokens)[rows, target]
    none = models.tagger(weights, np.full_like(tokens, 5))[rows, target]
    np.testing.assert_allclose(received.sum(1), full - none, rtol=1e-10)


def test_a_site_is_explained_by_its_activation():
    w, x, target = models.token_weights(), models.tokens(), models.targets()
    at_site = compiled(shapley(models.tagger, at="embed", segments=np.arange(4)))
    received = at_site(w, x, target)
    embedded = w["embed"][x]

    def rest(v, e):
        return jnp.tanh(e @ v["mix"]["w"]).mean(1) @ v["head"]["w"]

    segments = np.broadcast_to(np.arange(4)[:, None], (4, 6))
    expected = shapley(rest, segments=segments)(w, embedded, target)
    np.testing.assert_allclose(received, expected, atol=1e-12)
    assert list(shapley(models.tagger, at="emb*", samples=2)(w, x, target, KEY))


def test_a_hidden_channel_is_explained():
    weights, x = models.cnn_weights(), models.images()
    segments = grid_segments((6, 6), 3)
    score = ji.objectives.channel("tanh", 1)

    def model(v, x):
        return jnp.tanh(models.convolve(x, v["conv"]["w"])).mean((1, 2))

    received = shapley(model, segments=segments, score=score)(weights, x)
    shown = model(weights, x)[:, 1] - model(weights, 0 * x)[:, 1]
    np.testing.assert_allclose(received.sum((1, 2, 3)), shown, rtol=1e-9)


def test_the_planted_object_gets_everything_if_the_rest_is_the_baseline():
    data = ji.data.shapes(jax.random.key(0), 2, size=16)
    kernel = models.normal(1, 3, 3, 3, 4).astype(np.float32)

    def model(v, x):
        return jax.nn.relu(models.convolve(x, v)).mean((1, 2))

    attribute = shapley(
        model,
        baseline=data.without_target,
        segments=grid_segments((16, 16), 1),
        samples=2,
    )
    received = np.asarray(attribute(kernel, data.images, 1, KEY))
    np.testing.assert_array_equal(received[~np.asarray(data.mask)], 0)
    drop = model(kernel, data.images) - model(kernel, data.without_target)
    # scores of single precision
    np.testing.assert_allclose(received.sum((1, 2, 3)), drop[:, 1], rtol=1e-4)


def test_more_features_than_sixteen_need_random_orders():
    with pytest.raises(ValueError, match=r"72 features have 2\^72.*\n.*samples=64"):
        shapley(models.cnn)(models.cnn_weights(), models.images(), models.targets())


def test_random_orders_need_a_key_and_a_number():
    args = models.mlp_weights(), models.vectors(), models.targets()
    with pytest.raises(TypeError, match="needs one key"):
        shapley(models.mlp, samples=2)(*args)
    with pytest.raises(ValueError, match="`samples` must be an integer"):
        shapley(models.mlp, samples=0)
    with pytest.raises(ValueError, match="`batch_size` must be an integer"):
        shapley(models.mlp, batch_size=0)


def test_what_does_not_fit_is_said_before_a_loop_hides_it():
    args = models.mlp_weights(), models.vectors()
    with pytest.raises(ValueError, match="needs a target"):
        shapley(models.mlp)(*args)
    with pytest.raises(ValueError, match="does not broadcast"):
        shapley(models.mlp, baseline=np.zeros(4))(*args, 0)
    with pytest.raises(ValueError, match="does not fit"):
        shapley(models.mlp, segments=np.zeros(4, int))(*args, 0)
    with pytest.raises(TypeError, match="array of integers"):
        shapley(models.mlp, segments=np.zeros(5))(*args, 0)


def test_an_empty_batch_has_no_attributions():
    received = shapley(models.mlp)(
        models.mlp_weights(), models.vectors()[:0], np.zeros(0, int)
    )
    assert received.shape == (0, 5)
