"""Of a gated product the signal takes all, however the gate is spelled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxinterp as ji
from jaxinterp import rules
from jaxinterp.attribution import lrp
from jaxinterp.objectives import total

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 4))
W = RNG.normal(size=(4, 4))
GATES = {
    "sigmoid": jax.nn.sigmoid,
    "by hand": lambda z: 1 / (1 + jnp.exp(-z)),
    "the rest": lambda z: 1 - jax.nn.sigmoid(z),
    "clipped": lambda z: jax.lax.clamp(0.0, z, 1.0),
    "of another shape": lambda z: jax.nn.sigmoid(z[:, :1]),
    "of gates": lambda z: jax.nn.sigmoid(z) * jax.nn.sigmoid(-z),
}
OTHERS = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "twice a sigmoid": lambda z: 2 * jax.nn.sigmoid(z),
    "sigmoid plus one": lambda z: 1 + jax.nn.sigmoid(z),
}


def relevance(fn, x=X):
    composite = rules.epsilon_plus(0.0)
    return lrp(fn, composite=composite, score=total)(None, x)


@pytest.mark.parametrize("gate", GATES.values(), ids=GATES)
@pytest.mark.parametrize("is_left", [True, False])
def test_the_signal_takes_all(gate, is_left):
    def model(_, x):
        g = gate(x @ W)
        return g * x if is_left else x * g

    np.testing.assert_allclose(relevance(model), model(None, X), rtol=1e-9)


@pytest.mark.parametrize("factor", OTHERS.values(), ids=OTHERS)
def test_what_is_no_gate_shares_equally(factor):
    def model(_, x):
        return factor(x @ W) * x

    z = model(None, X)
    assert not np.allclose(relevance(model), z)  # the other factor has its half
    np.testing.assert_allclose(relevance(model).sum(), z.sum(), rtol=1e-4)


def test_gates_alone_share_equally():
    def model(_, x):
        return jax.nn.sigmoid(x) * jax.nn.sigmoid(2 * x)

    np.testing.assert_allclose(relevance(model), model(None, X), rtol=1e-9)


def test_the_signal_may_be_named_by_its_number():
    """Of a memory that is read by a query, and of three factors of a chain."""
    memory, query = np.abs(RNG.normal(size=(2, 3, 4))), np.ones((2, 4))

    def read(_, x):
        return jnp.einsum("bij,bj->bi", x["memory"], x["query"])

    x = {"memory": memory, "query": query}
    lines = [("*", rules.SignalTakesAll(signal=0))]
    received = lrp(read, composite=lines, score=total)(None, x)
    np.testing.assert_allclose(received["memory"], memory, rtol=1e-4)
    np.testing.assert_array_equal(received["query"], 0)
    books = ji.ledger(read, lines, None, x, score=total)
    assert books.error <= 1e-12
    assert abs(sum(entry.stabilizer for entry in books.entries)) > 1e-7

    for number in range(3):
        line = rules.Composite([("mul", rules.SignalTakesAll(signal=number))])
        composite = line + rules.epsilon_plus(0.0)
        chain = lambda _, x: x[:, :2] * x[:, 2:4] * x[:, 4:]  # noqa: E731
        z, y = RNG.normal(size=(2, 6)), slice(2 * number, 2 * number + 2)
        received = lrp(chain, composite=composite, score=total)(None, z)
        np.testing.assert_allclose(received[:, y], chain(None, z), rtol=1e-9)
        assert np.count_nonzero(received) == 4

    with pytest.raises(ValueError, match="signal"):
        rules.SignalTakesAll(signal=-1)
    with pytest.raises(rules.RuleSiteError, match="a product of at least 4 factors"):
        lrp(read, composite=[("*", rules.SignalTakesAll(signal=3))], score=total)(
            None, x
        )


@pytest.mark.parametrize("cell", [nn.LSTMCell, nn.GRUCell, nn.OptimizedLSTMCell])
def test_the_first_step_is_not_forgotten(cell):
    """What a recurrent network reads first and keeps to the end, is what it explains.

    All later inputs are zero, so that they have no relevance, and what equal shares
    would have left of it after 20 steps is a millionth.
    """

    model = nn.RNN(cell(3))
    x = jnp.zeros((1, 20, 2), jnp.float32).at[:, 0].set(2.0)
    variables = model.init(jax.random.key(0), x)
    last = lambda v, x: model.apply(v, x)[:, -1]  # noqa: E731
    attribute = lrp(last, composite=rules.epsilon_plus(), score=total)
    shares = np.abs(attribute(variables, x)).sum((0, 2))
    outputs = np.abs(last(variables, x)).sum()
    assert shares[0] > 0.01 * outputs
    np.testing.assert_array_equal(shares[1:], 0)


def test_the_books_close():
    def model(_, x):
        return jax.nn.sigmoid(x @ W) * x

    books = ji.ledger(model, rules.epsilon_plus(), None, X, score=total)
    assert books.error <= 1e-10


# --- Attention whose weights are constants --------------------------------------------

HEADS = {name: RNG.normal(size=(4, 2, 3)) for name in "qkv"}
OUT = RNG.normal(size=(2, 3, 4))
SEQUENCE = RNG.normal(size=(2, 5, 4))
CAUSAL = np.tril(np.ones((1, 1, 5, 5), bool))


def projected(x):
    return (jnp.einsum("bnd,dhf->bnhf", x, HEADS[name]) for name in "qkv")


def by_einsum(x):
    q, k, v = projected(x)
    scores = jnp.where(CAUSAL, jnp.einsum("bthf,bshf->bhts", q, k), -jnp.inf)
    return jnp.einsum("bhts,bshf->bthf", jax.nn.softmax(scores), v)


def by_flax(x):
    q, k, v = projected(x)
    return nn.dot_product_attention(q * 3**0.5, k, v, mask=CAUSAL)


def transposed(x):
    """Values on the left, weights in a lower precision and back, and masked again."""
    q, k, v = (y.transpose(0, 2, 3, 1) for y in projected(x))
    scores = jnp.where(CAUSAL, q.swapaxes(2, 3) @ k, -1e30)
    weights = jnp.where(CAUSAL, jax.nn.softmax(scores), 0.0).swapaxes(2, 3)
    return (v @ weights).transpose(0, 3, 1, 2)


@pytest.mark.parametrize("attend", [by_einsum, by_flax, transposed])
def test_attention_with_fixed_weights_is_a_linear_map_of_its_values(attend):
    def model(_, x):
        return jnp.einsum("bthf,hfd->btd", attend(x), OUT)

    q, k = (np.einsum("bnd,dhf->bhnf", SEQUENCE, HEADS[name]) for name in "qk")
    scores = np.exp(q @ k.swapaxes(2, 3)) * CAUSAL
    weights = scores / scores.sum(-1, keepdims=True)
    reached = np.einsum("bhts,hf,dhf->bsd", weights, OUT.sum(-1), HEADS["v"])
    composite = rules.cp_lrp(0.0)
    received = lrp(model, composite=composite, score=total)(None, SEQUENCE)
    np.testing.assert_allclose(received, SEQUENCE * reached, rtol=1e-8)


def test_products_without_a_softmax_share_equally():
    def model(_, x):
        return (x @ W) * x + jnp.einsum("btd,bsd,bsf->btf", x, x, x)

    found = [
        lrp(model, composite=preset(0.0), score=total)(None, SEQUENCE)
        for preset in (rules.cp_lrp, rules.attn_lrp)
    ]
    np.testing.assert_array_equal(*found)


def test_the_stabilizer_of_attention_is_in_the_books():
    def model(_, x):
        return by_einsum(x).sum((1, 2))

    composite = rules.cp_lrp(0.25)
    books = ji.ledger(model, composite, None, SEQUENCE, score=total)
    entries = [e for e in books.entries if str(e.rule).startswith("FixedAtt")]
    assert books.error <= 1e-12
    assert abs(sum(entry.stabilizer for entry in entries)) > 0.01
