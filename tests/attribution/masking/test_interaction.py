"""Interactions of pairs: closed forms, what defines them, and what cannot be asked."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.attribution import integrated_hessians, interaction, shapley
from jaxinterp.data.products import Gate, SobolG
from jaxinterp.objectives import total
from jaxinterp.perturbation.coalitions import interactions_of_all
from jaxinterp.perturbation.segments import grid_segments
from tests.compiled import compiled
from tests.networks import functions as models

INDICES = ("shapley", "shapley_taylor")


def pairs_of(value, n, index):
    """The definition, over sets: Grabisch and Roubens, eq. 3; Sundararajan, def. 2."""
    matrix = np.zeros((n, n))
    for i, j in itertools.permutations(range(n), 2):
        others = [k for k in range(n) if k not in (i, j)]
        for size in range(n - 1):
            weight = {
                "shapley": math.factorial(size)
                * math.factorial(n - size - 2)
                / math.factorial(n - 1),
                "shapley_taylor": 2 / n / math.comb(n - 1, size),
            }[index]
            for rest in map(set, itertools.combinations(others, size)):
                gain = value(rest | {i, j}) - value(rest | {i})
                matrix[i, j] += weight * (gain - value(rest | {j}) + value(rest)) / 2
    return matrix


def values_of(game, n):
    """The value of every coalition, in the order of their bits."""
    sets = [{i for i in range(n) if row >> i & 1} for row in range(2**n)]
    return np.array([game(members) for members in sets], float)


def test_any_game_has_the_pairs_of_the_definition():
    for index, n in itertools.product(INDICES, (1, 2, 5)):
        worth = np.random.default_rng(0).normal(size=2**n)

        def game(members, worth=worth):
            return worth[sum(2**i for i in members)]

        matrix = np.asarray(interactions_of_all(worth, index))
        expected, off = pairs_of(game, n, index), ~np.eye(n, dtype=bool)
        np.testing.assert_allclose(matrix[off], expected[off], rtol=1e-10)
        assert matrix.sum() == pytest.approx(worth[-1] - worth[0], rel=1e-12)
        if index == "shapley_taylor":
            alone = [game({i}) - game(set()) for i in range(n)]
            np.testing.assert_allclose(np.diag(matrix), alone, rtol=1e-9, atol=1e-12)


def test_unanimity_is_shared_by_its_pairs():
    """Of three players, of whom all are needed, beside one who is not."""
    values = values_of(lambda members: members >= {0, 1, 2}, 4)
    found = {i: np.asarray(interactions_of_all(values, i)) for i in INDICES}
    pair = np.ones((3, 3)) - np.eye(3)
    for index, share, rest in (
        ("shapley", 1 / 4, -1 / 6),
        ("shapley_taylor", 1 / 6, 0),
    ):
        expected = np.zeros((4, 4))
        expected[:3, :3] = share * pair + rest * np.eye(3)
        np.testing.assert_allclose(found[index], expected, atol=1e-15)
        np.testing.assert_array_equal(found[index][3], 0)  # exactly: a dummy


# Products c + s prod h_i(x_i), with a baseline whose factors are their means m_i.
PRODUCTS = {
    "and": (Gate("and", connected=3, irrelevant=1), 0.3, 1.0, lambda x: x),
    "or": (Gate("or", connected=2, irrelevant=2), 0.6, -1.0, lambda x: 1 - x),
    "xor": (Gate("xor", connected=4), 0.25, -0.5, lambda x: 1 - 2 * x),
    "sobol": (SobolG((0.0, 1.0, 4.5)), 0.75, 1.0, None),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_have_their_closed_form(name):
    r"""$s\,d_i d_j \int_0^1 u(t) \prod_{k \ne i, j} (m_k + t d_k)\,dt$, $d = h - m$.

    That is the multilinear extension of Owen, with $u = 1$ or, by Taylor, $2 (1 - t)$.
    """
    game, baseline, s, factor = PRODUCTS[name]
    x = np.asarray(game.sample(jax.random.key(0), 3))
    if name == "sobol":
        a = np.array(game.a)
        h, m = (np.abs(4 * x - 2) + a) / (1 + a), np.ones_like(x)
    else:
        is_read = np.arange(x.shape[1]) < game.connected
        h, m = np.where(is_read, factor(x), 1), np.where(is_read, factor(baseline), 1)
    t, weights = np.polynomial.legendre.leggauss(4)
    t, weights = (t[:, None, None] + 1) / 2, weights[:, None] / 2
    first = interaction(lambda _, x: game(x), baseline=baseline, score=total)
    taylor = interaction(
        lambda _, x: game(x), baseline=baseline, score=total, index="shapley_taylor"
    )
    received = compiled(lambda x: (first(None, x), taylor(None, x)))(x)
    for matrix, u in zip(received, (1, 2 * (1 - t[..., 0])), strict=True):
        for i, j in itertools.permutations(range(x.shape[1]), 2):
            others = np.delete(m + t * (h - m), [i, j], axis=2).prod(2)
            mean = (weights * u * others).sum(0)
            expected = s / 2 * ((h - m)[:, i] * (h - m)[:, j]) * mean
            np.testing.assert_allclose(matrix[:, i, j], expected, atol=1e-12)


def test_rows_add_up_to_shapley_values_and_kinks_do_no_harm():
    args = models.mlp_weights(), models.vectors(), models.targets()
    values = compiled(shapley(models.mlp, baseline=0.3))(*args)
    for index in INDICES:
        pairwise = compiled(interaction(models.mlp, baseline=0.3, index=index))
        matrix = pairwise(*args)
        np.testing.assert_allclose(matrix.sum(2), values, rtol=1e-9, atol=1e-12)
        np.testing.assert_array_equal(matrix, np.swapaxes(matrix, 1, 2))
        alone = pairwise(args[0], args[1][1:2], args[2][1:2])
        np.testing.assert_allclose(alone[0], matrix[1], rtol=1e-9, atol=1e-12)


def test_equal_features_interact_equally_and_sums_not_at_all():
    def model(w, x):
        a, b, c, d = x.T
        return (jnp.minimum(a, b) + jnp.minimum(a, c) + d**3)[:, None]

    x = np.array([[2.0, 1.0, 1.0, 5.0]])
    (matrix,) = interaction(model)(None, x, 0)
    assert matrix[0, 1] == matrix[0, 2] == pytest.approx(0.5)
    np.testing.assert_array_equal(matrix[3], [0, 0, 0, 125])
    assert matrix[1, 2] == pytest.approx(0, abs=1e-15)


def test_polynomials_of_pairs_are_those_of_integrated_hessians():
    """Which leave half of a product of two on the diagonal."""

    def model(w, x):
        return jnp.einsum("bi,ij,bj->b", x, w, x)

    w, x = models.normal(0, 4, 4), models.normal(1, 2, 4)
    exact = compiled(interaction(model, score=total))(w, x)
    path = compiled(integrated_hessians(model, score=total, steps=20))(w, x)
    off = ~np.eye(4, dtype=bool)
    np.testing.assert_allclose(exact[:, off], 2 * path[:, off], rtol=1e-6)


def test_segments_and_sites_are_features():
    weights, x, target = models.cnn_weights(), models.images(), models.targets()
    segments = grid_segments((6, 6), 3)
    args = {"segments": segments, "at": "max_pool"}
    with pytest.raises(ValueError, match="does not fit"):
        interaction(models.cnn, **args)(weights, x, target)
    matrix = compiled(interaction(models.cnn, segments=segments))(weights, x, target)
    assert matrix.shape == (3, 4, 4)
    at_site = interaction(models.tagger, at="embed", segments=np.arange(4))
    tokens = models.token_weights(), models.tokens(), target
    sums = compiled(shapley(models.tagger, at="embed", segments=np.arange(4)))(*tokens)
    np.testing.assert_allclose(
        compiled(at_site)(*tokens).sum(2), sums.sum(2), rtol=1e-9, atol=1e-12
    )


def test_what_cannot_be_asked_is_said():
    args = models.mlp_weights(), models.vectors(), models.targets()
    with pytest.raises(ValueError, match=r"`index` is 'banzhaf'. There are: 'shap"):
        interaction(models.mlp, index="banzhaf")
    with pytest.raises(ValueError, match=r"interaction.*`batch_size` must be"):
        interaction(models.mlp, batch_size=0)
    message = r"72 features have 2\^72.*\n.*`integrated_hessians\(apply_fn\)`"
    with pytest.raises(ValueError, match=message):
        interaction(models.cnn)(models.cnn_weights(), models.images(), args[2])
    with pytest.raises(ValueError, match="does not broadcast"):
        interaction(models.mlp, baseline=np.zeros(4))(*args)
    with pytest.raises(TypeError, match="array of integers"):
        interaction(models.mlp, segments=np.zeros(5))(*args)
    with pytest.raises(TypeError, match="attribute"):
        interaction(models.mlp)(*args, train=False)


def test_sixteen_features_are_few_enough_and_an_empty_batch_has_no_pairs():
    pairwise = interaction(lambda w, x: x[:, 0] * x[:, 15], score=total)
    matrix = np.asarray(compiled(pairwise)(None, np.arange(1.0, 17.0)[None]))[0]
    expected = np.zeros((16, 16))
    expected[0, 15] = expected[15, 0] = 8
    np.testing.assert_allclose(matrix, expected, rtol=1e-9, atol=1e-9)
    assert pairwise(None, np.zeros((0, 16))).shape == (0, 16, 16)
