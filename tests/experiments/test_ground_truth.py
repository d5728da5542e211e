"""The measures of the experiment, by hand."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxinterp as ji
from experiments.ground_truth import measures
from experiments.ground_truth.__main__ import main, sections, subject, table
from experiments.ground_truth.explain import (
    Located,
    from_embedding,
    last_map,
    on_images,
    on_tokens,
)
from experiments.ground_truth.methods import methods
from experiments.zoo import shelf

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


def test_no_examples_at_all_cannot_be_asked_for(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--count", "0"])
    assert "--count must be at least 1, and is 0." in capsys.readouterr().err


def test_examples_are_those_that_the_zoo_held_out():
    (apply_fn, variables), data = subject("evidence_transformer", 20)
    held_out = shelf.RECIPES["evidence_transformer"].held_out(20)
    chex.assert_trees_all_equal(tuple(data), tuple(held_out))
    answers = apply_fn(variables, data.tokens).argmax(axis=1)
    assert (answers == data.labels).mean() > 0.8


def test_edges_are_where_brightness_changes():
    images = np.zeros((1, 4, 4, 3))
    images[:, :, 2:] = 1.0
    found = measures.edges(images)
    assert (found[0, :, 1:3] > 0).all()
    assert (found[0, :, [0, 3]] == 0).all()


@pytest.mark.slow(reason="explains with every method")
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


@pytest.mark.slow(reason="explains with every method")
def test_deep_taylor_and_excitation_backprop_agree_on_tokens_without_biases():
    class Reader(nn.Module):
        @nn.compact
        def __call__(self, embedded):
            x = nn.relu(nn.Dense(8, use_bias=False)(embedded))
            x = nn.relu(nn.Dense(8, use_bias=False)(x).mean(axis=1))
            return nn.Dense(3, use_bias=False)(x)

    embedded = jax.random.normal(jax.random.key(0), (8, 5, 6), jnp.float64)
    model = Reader(parent=None)
    variables = model.init(jax.random.key(1), embedded)
    logits = model.apply(variables, embedded)
    # Deep Taylor gives nothing to a score below zero.
    embedded, logits = (x[logits.max(axis=1) > 0] for x in (embedded, logits))
    target = jnp.argmax(logits, axis=1)
    taylor, excitation = (
        np.asarray(methods(model.apply)[name](variables, embedded, target))
        for name in ("deep Taylor", "LRP excitation backprop")
    )
    assert measures.heat(taylor).min() > 0
    np.testing.assert_allclose(measures.heat(taylor), measures.heat(excitation), 1e-4)
    # Within a token they share otherwise.
    assert np.abs(taylor - excitation).max() > 0.1 * np.abs(taylor).max()


def test_the_last_map_is_where_branches_are_joined():
    def model(variables, x):
        branches = [jax.nn.relu(x * w) for w in variables]
        return jnp.concatenate(branches, axis=-1).mean((1, 2), keepdims=True)[:, 0, 0]

    args = jnp.array([1.0, 2.0]), jnp.ones((1, 4, 4, 2))
    address = last_map(model, *args)
    graph = ji.trace(model, *args)
    assert graph.sites[address].node.outputs[0].shape == (1, 4, 4, 4)
    assert last_map(lambda w, x: x @ w, jnp.ones((3, 2)), jnp.ones((1, 3))) is None


@pytest.mark.slow(reason="explains with every method")
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


def test_a_table_falls_into_the_sections_of_its_networks():
    figures = {"gradient": Located(0.5, 1.0)}
    rows = {"shapes_cnn": figures, "evidence_lstm": figures}
    parts = sections(table(rows, dict.fromkeys(rows, 0.1)))
    assert list(parts) == ["shapes_cnn", "evidence_lstm"]
    assert parts["shapes_cnn"] == parts["evidence_lstm"]
    assert parts["evidence_lstm"].endswith("| gradient | 0.50 | 1.00 |")
