"""Relevance through time: recurrent networks as people write them, and state spaces."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx
from jax import lax

import jaxinterp as ji
from jaxinterp import rules
from jaxinterp.attribution import lrp
from jaxinterp.data import evidence
from tests.compiled import compiled
from tests.networks import recurrences as networks
from tests.networks.recurrences import associative, one_by_one, unrolled

TIME, TARGET = 5, np.array([0, 1])
X = np.random.default_rng(0).normal(size=(2, TIME, networks.FEATURES))
HEAD = networks.normal(99, networks.WIDTH, 2)
# An xLSTM divides by a state, and no preset has a line for that.
DIVIDED = [(ji.of_role("quotient"), rules.FixedStatistics(1e-14))]


def exact(preset):
    """Without stabilizers, which depend on where one site ends and the next begins."""
    sums = (ji.of_role("add", "linear"), rules.Norm(1e-14))
    return [*DIVIDED, sums, *preset(1e-14).lines]


# Each kind in two spellings or more, of which the first is a `scan`.
SPELLINGS = {
    "lstm": ((lax.scan,), (unrolled,)),
    "gru": ((lax.scan,), (unrolled,)),
    "slstm": ((lax.scan,), (unrolled,)),
    "mlstm": ((lax.scan,), (unrolled,)),
    "min_gru": ((lax.scan, one_by_one), (unrolled, one_by_one), (None, associative)),
    "rg_lru": ((lax.scan, one_by_one), (unrolled, one_by_one), (None, associative)),
    "s5": ((lax.scan, one_by_one), (unrolled, one_by_one), (None, associative)),
    "mamba": ((lax.scan, one_by_one), (unrolled, one_by_one), (None, associative)),
}


def model_of(kind, spelling):
    """A classifier of the last state, and its weights."""
    states = getattr(networks, kind)
    v = {"net": getattr(networks, f"{kind}_weights")(), "head": HEAD}

    def model(v, x):
        return states(v["net"], x, *spelling)[:, -1] @ v["head"]

    return model, v


@pytest.mark.parametrize("kind", SPELLINGS)
def test_a_loop_and_its_steps_written_out_say_the_same(kind):
    first, *others = SPELLINGS[kind]
    composite = exact(rules.epsilon_plus)

    def run(spelling):
        model, v = model_of(kind, spelling)
        method = lrp(model, composite=composite)
        return compiled(lambda v, x: (model(v, x), method(v, x, TARGET)))(v, X)

    logits, relevance = run(first)
    assert np.abs(relevance[:, 0]).min() > 1e-6  # the first step has its share
    for spelling in others:
        same_logits, same = run(spelling)
        np.testing.assert_allclose(same_logits, logits, rtol=1e-9)
        scale = np.abs(relevance).max()
        np.testing.assert_allclose(same, relevance, rtol=1e-9, atol=1e-9 * scale)


@pytest.mark.parametrize("preset", ["epsilon_plus", "attn_lrp"])
@pytest.mark.parametrize("kind", SPELLINGS)
def test_the_books_of_each_kind_close(kind, preset):
    """Whether the signal of a product takes all, or its factors share equally."""
    model, v = model_of(kind, SPELLINGS[kind][-1 if "min" in kind else 0])
    composite = DIVIDED + getattr(rules, preset)()
    books = ji.ledger(model, composite, v, X, TARGET)
    assert books.error <= 1e-9
    assert ji.plan(model, composite, v, X).coverage == 1


def test_an_xlstm_asks_for_a_rule_of_its_quotient():
    model, v = model_of("mlstm", (lax.scan,))
    with pytest.raises(rules.UnmatchedSiteError, match=r"rules.FixedStatistics\(\)"):
        lrp(model, composite="epsilon_plus")(v, X, TARGET)


# --- Padded sequences, and both directions --------------------------------------------

LENGTHS = np.array([5, 2])


class Reader(nn.Module):
    """The last state of a recurrent layer of flax."""

    cell: type[nn.RNNCellBase]
    reverse: bool = False
    keep_order: bool = False

    @nn.compact
    def __call__(self, x):
        cell = self.cell(3, param_dtype=x.dtype)
        layer = nn.RNN(
            cell, reverse=self.reverse, keep_order=self.keep_order, return_carry=True
        )
        carry, _ = layer(x, seq_lengths=LENGTHS)
        return nn.Dense(2, param_dtype=x.dtype)(jax.tree.leaves(carry)[-1])


class BothWays(nn.Module):
    """The mean of the states of two layers, without those at padded positions."""

    @nn.compact
    def __call__(self, x):
        cells = [nn.RNN(nn.GRUCell(3, param_dtype=x.dtype)) for _ in range(2)]
        states = nn.Bidirectional(*cells)(x, seq_lengths=LENGTHS)
        is_read = jnp.arange(TIME)[None, :, None] < LENGTHS[:, None, None]
        mean = jnp.where(is_read, states, 0).sum(1) / LENGTHS[:, None]
        return nn.Dense(2, param_dtype=x.dtype)(mean)


READERS = {
    "LSTM": Reader(nn.LSTMCell),
    "optimized LSTM": Reader(nn.OptimizedLSTMCell),
    "GRU": Reader(nn.GRUCell),
    "reversed": Reader(nn.OptimizedLSTMCell, reverse=True),
    "in order": Reader(nn.OptimizedLSTMCell, reverse=True, keep_order=True),
    "both ways": BothWays(),
}


@functools.cache
def reading(name):
    """Its weights, and a function from inputs to their relevance."""
    module = READERS[name]
    v = jax.jit(module.init)(jax.random.key(0), X)
    explain = compiled(lrp(module.apply, composite="epsilon_plus"))
    return v, lambda v, x: np.array(explain(v, x, TARGET))


@pytest.mark.parametrize("name", READERS)
def test_padding_has_no_relevance(name):
    v, explain = reading(name)
    relevance = explain(v, X)
    np.testing.assert_array_equal(relevance[1, 2:], 0)
    assert np.abs(relevance[1, :2]).min() > 0
    assert np.abs(relevance[0]).min() > 0
    changed = np.where(np.arange(TIME)[:, None] < LENGTHS[:, None, None], X, 9.0)
    np.testing.assert_allclose(explain(v, changed), relevance, rtol=1e-9, atol=1e-15)


def turned(x):
    """Each sequence from its end to its beginning, and its padding as it was."""
    parts = zip(np.array(x), LENGTHS, strict=True)
    return np.stack([np.concatenate([a[:n][::-1], a[n:]]) for a, n in parts])


@pytest.mark.slow(reason="compiles three networks that the test of padding has too")
def test_a_reversed_layer_reads_the_sequence_backward():
    v, explain = reading("reversed")
    relevance = explain(v, X)
    np.testing.assert_array_equal(reading("in order")[1](v, X), relevance)
    forward = reading("optimized LSTM")[1](v, turned(X))
    np.testing.assert_allclose(relevance, turned(forward), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("recur", [one_by_one, associative])
def test_a_linear_recurrence_keeps_its_state_over_padding(recur):
    v = {"net": networks.min_gru_weights(), "head": HEAD}

    def padded(v, x):
        def held(decay, driven, loop):
            is_read = np.arange(TIME)[None, :, None] < LENGTHS[:, None, None]
            decay = jnp.where(is_read, decay, 1.0)
            return recur(decay, jnp.where(is_read, driven, 0.0), loop)

        return networks.min_gru(v["net"], x, lax.scan, held)[:, -1] @ v["head"]

    composite = exact(rules.epsilon_plus)
    relevance = compiled(lrp(padded, composite=composite))(v, X, TARGET)
    np.testing.assert_array_equal(relevance[1, LENGTHS[1] :], 0)
    model, _ = model_of("min_gru", (lax.scan, recur))
    alone = lrp(model, composite=composite)(v, X[1:, : LENGTHS[1]], TARGET[1:])
    np.testing.assert_allclose(relevance[1:, : LENGTHS[1]], alone, rtol=1e-9)


@pytest.mark.slow(reason="a layer that linen has too")
def test_the_books_of_a_layer_of_nnx_close():
    cell = nnx.GRUCell(networks.FEATURES, 3, rngs=nnx.Rngs(0), param_dtype=jnp.float64)
    apply_fn, state = ji.models.from_nnx(nnx.RNN(cell, rngs=nnx.Rngs(0)))
    last = lambda state, x: apply_fn(state, x)[:, -1]  # noqa: E731
    books = ji.ledger(last, "epsilon_plus", state, X, TARGET)
    assert books.error <= 1e-9
    assert abs(books.attributed) > 1e-3


# --- What is known to be true ---------------------------------------------------------


def reader_of(kind, spelling):
    """Classifies tokens by the last state of what reads each of them in pairs."""
    states = getattr(networks, kind)

    def reader(v, tokens):
        x = v["table"][tokens]
        before = jnp.pad(x, ((0, 0), (1, 0), (0, 0)))[:, :-1]
        pairs = jnp.concatenate([x, before], axis=-1)
        pairs = jax.nn.relu(pairs @ v["pair"] + v["bias"])
        return states(v["net"], pairs, *spelling)[:, -1] @ v["head"]

    width, make = 16, getattr(networks, f"{kind}_weights")
    v = {
        "table": networks.normal(1, 8, 8),
        "pair": networks.normal(2, 16, width),
        "bias": np.zeros((1, 1, width)),
        "net": make(width, width),
        "head": networks.normal(3, width, 3),
    }
    return reader, jax.tree.map(jnp.asarray, v)


def trained(reader, v, draw):
    """The weights after 300 steps, and the share of labels that they get right."""
    optimizer = optax.adam(1e-2)

    def loss(v, data):
        logits = reader(v, data.tokens)
        labels = optax.softmax_cross_entropy_with_integer_labels
        return labels(logits, data.labels).mean()

    def step(carry, key):
        v, state = carry
        updates, state = optimizer.update(jax.grad(loss)(v, draw(key, 64)), state, v)
        return (optax.apply_updates(v, updates), state), None

    keys = jax.random.split(jax.random.key(0), 300)
    (v, _), _ = jax.jit(lambda c, k: lax.scan(step, c, k))((v, optimizer.init(v)), keys)
    data = draw(jax.random.key(1), 200)
    return v, (reader(v, data.tokens).argmax(-1) == data.labels).mean(), data


# What a memory that is a matrix is read with: it looks at the memory, as a query does.
MEMORY = [("matmul", rules.SignalTakesAll(0))]
LINES = {"mlstm": MEMORY, "mamba": MEMORY}


@pytest.mark.slow(reason="trains a network of each kind")
@pytest.mark.parametrize("kind", SPELLINGS)
def test_a_trained_network_reads_the_evidence(kind):
    """A token that counts because of the one before it, far before the end."""
    reader, v = reader_of(kind, SPELLINGS[kind][-1 if len(SPELLINGS[kind]) > 2 else 0])
    draw = functools.partial(evidence, length=10, classes=3, neutral=4)
    v, accuracy, data = trained(reader, v, draw)
    assert accuracy >= 0.95
    lines = [*LINES.get(kind, []), *DIVIDED]
    method = lrp(reader, composite=lines + rules.epsilon_plus())
    of_tokens = compiled(ji.attribution.per_token(method))
    relevance = np.abs(of_tokens(v, data.tokens, data.labels))
    place = (-relevance).argsort(1).argsort(1)
    first = np.where(data.mask, place, np.inf).min(1)  # the token, or its marker
    assert (first <= 1).mean() >= 0.9
    assert 1 + first.mean() <= 1.6  # 3.7 by chance
