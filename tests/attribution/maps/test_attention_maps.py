"""The attention of each head: as it is, between two sequences, and by what it adds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxinterp.attribution import attention_maps, attention_rollout
from tests.attribution.maps import test_attention as spellings
from tests.compiled import compiled
from tests.networks import functions as models
from tests.oracles import attention as oracle

LAYERS, WEIGHTS, X = spellings.LAYERS, spellings.WEIGHTS, spellings.X
SIZE = spellings.SIZE


def textbook(x):
    """Of one example: for each layer the attention, and the norms of what is added."""
    attention, _ = oracle.transformer(LAYERS, x, {})
    norms = [np.zeros(matrices.shape) for matrices in attention]
    for number, layer in enumerate(LAYERS):
        for h, t, s in np.ndindex(*attention[number].shape):
            added = attention[number][h, t, s] * (x[s] @ layer["v"][:, h])
            norms[number][h, t, s] = np.linalg.norm(added @ layer["o"][h])
        x = x + sum(
            attention[number][h] @ (x @ layer["v"][:, h]) @ layer["o"][h]
            for h in range(SIZE)
        )
    return attention, norms


def stacked(maps):
    """The maps of all layers, also of those in a loop, `(batch, layers, ...)`."""
    each = [array if array.ndim == 5 else array[None] for array in maps.values()]
    return np.moveaxis(np.concatenate(each), 0, 1)


NAMES = [
    pytest.param(n, marks=[] if i % 3 == 0 else [pytest.mark.slow(reason="a spelling")])
    for i, n in enumerate(spellings.MODELS)
    if n != "scanned_by_twos"
]


@pytest.mark.parametrize("name", NAMES)
def test_every_spelling_gives_attention_and_norms_of_the_textbook(name):
    model = spellings.MODELS[name]
    atol = 1e-5 if name == "by_jax" else 1e-9  # JAX takes its softmax in float32

    @compiled
    def both(v, x):
        norms = attention_maps(model, weighting="value_norms")(v, x)
        return dict(attention_maps(model)(v, x)), dict(norms)

    attention, norms = map(stacked, both(WEIGHTS, X))
    for i, x in enumerate(X):
        expected = textbook(x)
        np.testing.assert_allclose(attention[i], expected[0], atol=atol)
        np.testing.assert_allclose(norms[i], expected[1], atol=atol)


def test_two_layers_in_each_step_have_maps_of_their_own():
    maps = attention_maps(spellings.MODELS["scanned_by_twos"])(WEIGHTS, X)
    shape = (1, SIZE, SIZE, SIZE, SIZE)
    assert [array.shape for array in maps.values()] == [shape, shape]
    np.testing.assert_allclose(stacked(maps)[0], textbook(X[0])[0], atol=1e-9)


def rolled(norms):
    """Abnar and Zuidema's rollout of rows of norms that were made to sum to one."""
    result = np.eye(SIZE)
    for matrices in norms:
        raw = sum(matrices) / len(matrices)
        raw = 0.5 * raw / raw.sum(1)[:, None] + 0.5 * np.eye(SIZE)
        result = raw @ result
    return result


def test_the_rollout_of_norms_of_chosen_heads_and_layers():
    model = spellings.MODELS["scanned"]
    all_norms = [textbook(x)[1] for x in X]
    received = attention_rollout(model, weighting="value_norms")(WEIGHTS, X)
    np.testing.assert_allclose(received, [rolled(n) for n in all_norms], atol=1e-9)
    chosen = attention_rollout(model, weighting="value_norms", layers=-1, heads=[2, 0])(
        WEIGHTS, X
    )
    expected = [rolled([n[1][[0, 2]]]) for n in all_norms]
    np.testing.assert_allclose(chosen, expected, atol=1e-9)


# --- Between two sequences ------------------------------------------------------------

W = models.normal(7, 4, 6, 2, 3)  # queries, keys, values: two heads of three features
OUT = models.normal(8, 2, 3, 6)


def cross(v, x):
    """Three positions of a decoder read five of an encoder, in two heads."""
    q = jnp.einsum("btd,dhf->bthf", x["to"], W[0])
    k, val = (jnp.einsum("bsd,dhf->bshf", x["from"], w) for w in W[1:3])
    with jax.named_scope("cross"):
        weights = jax.nn.softmax(jnp.einsum("bthf,bshf->bhts", q, k))
    mixed = jnp.einsum("bhts,bshf->bthf", weights, val) + 0.3
    return x["to"] + jnp.einsum("bthf,hfd->btd", mixed, OUT) + 0.7


PAIR = {"to": models.normal(9, 3, 3, 6), "from": models.normal(10, 3, 5, 6)}


@pytest.mark.parametrize("n_targets", [3, 1, 2])
def test_attention_to_another_sequence_has_maps_of_both_kinds(n_targets):
    """There are more sources than targets, and as many examples as targets."""
    pair = {**PAIR, "to": PAIR["to"][:, :n_targets]}
    received = attention_maps(cross, at="cross/softmax")(None, pair)
    norms = attention_maps(cross, at="cross/softmax", weighting="value_norms")
    norms = compiled(norms)(None, pair)
    assert received.shape == norms.shape == (3, 2, n_targets, 5)
    for b, h, t in np.ndindex(3, 2, n_targets):
        query = pair["to"][b, t] @ W[0][:, h]
        scores = np.array([query @ (row @ W[1][:, h]) for row in pair["from"][b]])
        alpha = np.exp(scores) / np.exp(scores).sum()
        np.testing.assert_allclose(received[b, h, t], alpha, atol=1e-12)
        for s in range(5):
            added = alpha[s] * (pair["from"][b, s] @ W[2][:, h]) @ OUT[h]
            assert norms[b, h, t, s] == pytest.approx(np.linalg.norm(added), rel=1e-9)


def test_a_rollout_of_such_attention_names_the_site_and_what_to_write():
    with pytest.raises(ValueError, match=r"(?s)'cross/softmax'.*`attention_maps`.*at="):
        attention_rollout(cross)(None, PAIR)


def test_queries_that_are_weights_and_a_pool_of_positions():
    queries = attention_maps(spellings.queries, at="softmax")(None, X)
    assert queries.shape == (SIZE, 1, SIZE, SIZE)
    scores = np.exp(np.einsum("qd,bsd->bqs", X[0], X))
    expected = scores / scores.sum(-1, keepdims=True)
    np.testing.assert_allclose(queries[:, 0], expected, atol=1e-12)
    pooled = attention_maps(spellings.pooled, at="softmax")(None, X)
    assert pooled.shape == (SIZE, 1, 1, SIZE)
    np.testing.assert_allclose(pooled.sum(-1), 1, atol=1e-12)


def test_axes_that_may_both_be_targets_are_an_error():
    w = models.normal(3, 2, 4, 6)

    def grids(v, x):
        weights = jax.nn.softmax(jnp.einsum("pqd,bsd->bpqs", w, x))
        return jnp.einsum("bpqs,bsd->bpqd", weights, x)

    with pytest.raises(ValueError, match=r"several axes that may be .*: 1, 2"):
        attention_maps(grids)(None, X)


# --- What is not linear ---------------------------------------------------------------


def attend(x):
    return jax.nn.softmax(x @ x.swapaxes(1, 2))


def squashed(v, x):
    return x + jnp.tanh(attend(x) @ x)


def squared(v, x):
    mixed = attend(x) @ x
    return mixed * mixed


def gated(v, x):
    return x + jax.nn.sigmoid(x) * (attend(x) @ x)


def twice(v, x):
    weights = attend(x)
    return weights @ x + weights @ jnp.sin(x)


def sharpened(v, x):
    return x + attend(x) ** 2 @ x


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (squashed, r"`tanh` .*is not linear"),
        (squared, "(not linear|several operations)"),
        (gated, "multiplied with other activations"),
        (twice, "multiplied with 2 arrays of values"),
        (sharpened, "is not linear"),
    ],
)
def test_values_without_a_share_of_their_own_are_an_error(model, message):
    with pytest.raises(ValueError, match=f"(?s){message}.*weighting='weights'"):
        attention_maps(model, weighting="value_norms")(None, X)
    attention_maps(model)(None, X)


def test_a_projection_is_left_out_where_positions_are_added_up_first():
    def model(v, x):
        return (attend(x) @ x).sum(1) @ spellings.HEAD

    norms = attention_maps(model, at="softmax", weighting="value_norms")(None, X)
    weights = attention_maps(model, at="softmax")(None, X)
    lengths = np.linalg.norm(X, axis=-1)[:, None, None]
    np.testing.assert_allclose(norms, weights * lengths, atol=1e-12)


def test_a_loop_that_is_no_scan_is_an_error():
    def model(v, x):
        return lax.fori_loop(0, 2, lambda _, x: x + attend(x) @ x, x + v)

    def whiled(v, x):
        return lax.while_loop(lambda x: x.sum() < 0, lambda x: x + attend(x) @ x, x)

    with pytest.raises(ValueError, match="in a `while`"):
        attention_maps(whiled)(None, X)
    assert attention_maps(model, at="*softmax")(0.0, X)


def test_another_weighting_is_an_error():
    for method in (attention_maps, attention_rollout):
        with pytest.raises(ValueError, match=r"`weighting`.*'value_norms'"):
            method(cross, weighting="norms")
