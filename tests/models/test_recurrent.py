"""Recurrent classifiers compute the textbook's equations, and are explained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.models.recurrent import GRUClassifier, LSTMClassifier
from tests.compiled import compiled
from tests.models.random_variables import random_variables

TOKENS = jnp.array([[3, 1, 4, 1, 5], [2, 6, 5, 3, 5]], jnp.int32)
SIGNALS = jax.random.normal(jax.random.key(0), (2, 5, 3), jnp.float64)
MODELS = {
    "lstm": LSTMClassifier(classes=3, width=4),
    "gru": GRUClassifier(classes=3, width=4),
}
every_model = pytest.mark.parametrize("name", MODELS)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def dense(p, x):
    return x @ p["kernel"] + p.get("bias", 0)


def lstm_states(p, signal):
    """The states of one signal, gates as Hochreiter and Schmidhuber name them."""
    h = c = np.zeros(4)
    states = []
    for x in signal:
        i, f, g, o = (dense(p["i" + n], x) + dense(p["h" + n], h) for n in "ifgo")
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        states.append(h)
    return np.array(states)


def gru_states(p, signal):
    """The states of one signal; `n` is the candidate."""
    h = np.zeros(4)
    states = []
    for x in signal:
        r = sigmoid(dense(p["ir"], x) + dense(p["hr"], h))
        z = sigmoid(dense(p["iz"], x) + dense(p["hz"], h))
        n = np.tanh(dense(p["in"], x) + r * dense(p["hn"], h))
        h = (1 - z) * n + z * h
        states.append(h)
    return np.array(states)


@pytest.mark.parametrize("reads", ["last", "mean"])
@every_model
def test_the_states_are_the_textbooks(name, reads):
    model = MODELS[name].clone(reads=reads)
    variables = random_variables(model, SIGNALS, dtype=np.float64)
    params = jax.tree.map(np.asarray, variables["params"])
    (cell,) = (leaves for key, leaves in params.items() if key != "head")
    states_of = lstm_states if name == "lstm" else gru_states
    states = np.stack([states_of(cell, signal) for signal in np.asarray(SIGNALS)])
    read = states[:, -1] if reads == "last" else states.mean(axis=1)
    expected = dense(params["head"], read)
    np.testing.assert_allclose(model.apply(variables, SIGNALS), expected, rtol=1e-9)


@every_model
def test_tokens_are_embedded_first(name):
    model = MODELS[name].clone(vocabulary=9, embedding_width=6)
    variables = random_variables(model, TOKENS)
    assert variables["params"]["token_embedding"]["embedding"].shape == (9, 6)
    assert model.apply(variables, TOKENS).shape == (2, 3)


@every_model
def test_relevance_is_covered_and_finite(name):
    model = MODELS[name].clone(vocabulary=9, embedding_width=6)
    variables = random_variables(model, TOKENS)
    graph = ji.trace(model.apply, variables, TOKENS)
    root = type(model).__name__
    assert {f"{root}/token_embedding", f"{root}/{name}", f"{root}/head"} <= set(
        graph.sites
    )
    assert (
        ji.plan(model.apply, ji.rules.epsilon_plus(), variables, TOKENS).coverage == 1
    )
    attribute = compiled(ji.attribution.lrp(model.apply, at=f"{root}/token_embedding"))
    received = attribute(variables, TOKENS, jnp.array([0, 2]))
    assert received.shape == (2, 5, 6)
    assert np.isfinite(received).all()
    assert (np.abs(received).max(axis=(1, 2)) > 0).all()


@every_model
@pytest.mark.parametrize(
    ("vocabulary", "inputs", "message"),
    [
        (9, SIGNALS, "integer tokens of shape"),
        (None, TOKENS, "real signals of shape"),
        (None, SIGNALS[0], "real signals of shape"),
        (9, TOKENS[..., None], "integer tokens of shape"),
    ],
)
def test_inputs_of_another_kind_are_refused(name, vocabulary, inputs, message):
    model = MODELS[name].clone(vocabulary=vocabulary)
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(model.init, jax.random.key(0), inputs)


@every_model
def test_an_unknown_way_to_read_states_is_refused(name):
    model = MODELS[name].clone(reads="first")
    with pytest.raises(ValueError, match="'last' or 'mean', and not 'first'"):
        jax.eval_shape(model.init, jax.random.key(0), SIGNALS)
