"""The measures of the experiment, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.ground_truth import measures
from experiments.ground_truth.__main__ import table
from experiments.ground_truth.explain import from_embedding, on_images, on_tokens

HEAT = np.array([[[1.0, 0.0], [3.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
MASK = np.array([[[True, False], [False, False]], [[True, True], [True, True]]])


def test_heat_sums_channels_before_it_takes_the_magnitude():
    attribution = np.array([[[1.0, -1.0], [-2.0, -1.0]]])
    np.testing.assert_array_equal(measures.heat(attribution), [[0.0, 3.0]])
    with pytest.raises(ValueError, match="not finite"):
        measures.heat(np.array([[[np.nan]]]))


def test_mass_and_pointing_by_hand():
    np.testing.assert_allclose(measures.mass(HEAT, MASK), [0.25, 0.0])
    assert measures.points_inside(HEAT, MASK).tolist() == [False, True]


def test_rank_counts_ties_half():
    heat = np.array([[3.0, 2.0, 1.0], [1.0, 1.0, 1.0]])
    ranks = measures.rank(heat, np.array([1, 0]))
    np.testing.assert_allclose(ranks, [2.0, 2.0])


def test_edges_are_where_brightness_changes():
    images = np.zeros((1, 4, 4, 3))
    images[:, :, 2:] = 1.0
    found = measures.edges(images)
    assert (found[0, :, 1:3] > 0).all()
    assert (found[0, :, [0, 3]] == 0).all()


def test_a_model_that_reads_one_corner_is_found_out():
    kernel = np.zeros((8, 8, 3, 2), np.float32)
    kernel[:2, :2, :, 0], kernel[:2, :2, :, 1] = 1.0, -1.0

    def model(variables, x):
        return jax.nn.relu(jnp.einsum("bhwc,hwcn->bn", x, variables)) @ jnp.eye(2)

    images = jax.random.uniform(jax.random.key(0), (50, 8, 8, 3), jnp.float32)
    mask = np.zeros((50, 8, 8), bool)
    mask[:, :2, :2] = True
    figures, found = on_images("corner", model, kernel, images, mask)
    assert figures["baseline: random"].mass < 0.2
    assert figures["gradient"].mass == pytest.approx(1.0)
    assert figures["integrated gradients"].pointing == 1.0
    assert set(figures) == set(found)
    text = table({"corner": figures}, {"corner": float(mask.mean())})
    assert "| gradient | 1.00 | 1.00 |" in text


def test_tokens_are_explained_from_their_embedding():
    weights = {
        "embed": np.eye(4, 3, dtype=np.float32),
        "head": np.eye(3, dtype=np.float32),
    }

    def model(variables, tokens):
        return variables["embed"][tokens][:, 1] @ variables["head"]

    tokens = jax.random.randint(jax.random.key(0), (50, 5), 0, 3)
    _, decode = from_embedding(model, weights, tokens[:1])
    embedded = weights["embed"][np.asarray(tokens)]
    np.testing.assert_allclose(decode(weights, embedded), model(weights, tokens))
    position = np.ones(50, int)
    mask = np.zeros((50, 5), bool)
    mask[:, 1] = True
    figures, _ = on_tokens("second", model, weights, tokens, position, mask)
    assert figures["gradient"] == (1.0, 1.0, 1.0)
    assert figures["baseline: random"].rank > 2
