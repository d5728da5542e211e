"""Recurrent classifiers compute the textbook's equations, and are explained."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.models.architectures.recurrent import GRUClassifier, LSTMClassifier
from tests.few import few
from tests.networks.random_variables import random_variables

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
    cell = params[name]["cell"]
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
def test_the_loop_is_a_site_of_all_states_and_a_step_has_the_names_of_gates(name):
    model = MODELS[name]
    variables = random_variables(model, SIGNALS, dtype=np.float64)
    params = jax.tree.map(np.asarray, variables["params"])
    loop = f"{type(model).__name__}/{name}"
    _, found = ji.capture(model.apply, f"{loop}*")(variables, SIGNALS)
    states_of = lstm_states if name == "lstm" else gru_states
    for signal, states in zip(np.asarray(SIGNALS), found[loop], strict=True):
        expected = states_of(params[name]["cell"], signal)
        np.testing.assert_allclose(states, expected, rtol=1e-9)
    gates = {"lstm": "ifgo", "gru": "rzn"}[name]
    cell = f"{loop}/cell"
    assert {f"{cell}/{side}{gate}" for side in "ih" for gate in gates} <= set(found)
    # Of the inputs, a gate sees what the textbook says, one step after the other.
    kernel = params[name]["cell"][f"i{gates[0]}"]["kernel"]
    bias = params[name]["cell"][f"i{gates[0]}"].get("bias", 0)
    np.testing.assert_allclose(
        np.moveaxis(found[f"{cell}/i{gates[0]}"], 0, 1),
        np.asarray(SIGNALS) @ kernel + bias,
        rtol=1e-9,
    )


@every_model
@pytest.mark.parametrize(
    ("inputs", "weights"),
    few(
        itertools.permutations(["bfloat16", "float16", "float32"], 2),
        2,
        reason="another pair, promoted alike",
    ),
)
def test_inputs_and_weights_of_two_dtypes_are_promoted(name, inputs, weights):
    """As in a dense layer: float16 and bfloat16 meet in float32."""
    variables = random_variables(MODELS[name], SIGNALS, dtype=weights)
    signals = SIGNALS.astype(inputs)
    logits = MODELS[name].apply(variables, signals)
    assert logits.dtype == jnp.promote_types(inputs, weights)
    same = [x.astype(jnp.float32) for x in (signals, *jax.tree.leaves(variables))]
    variables = jax.tree.unflatten(jax.tree.structure(variables), same[1:])
    expected = MODELS[name].apply(variables, same[0])
    # A few roundings of the dtype in which the loop runs.
    tolerance = 20 * float(jnp.finfo(logits.dtype).eps)
    np.testing.assert_allclose(
        np.asarray(logits, float), expected, rtol=tolerance, atol=tolerance
    )


@every_model
def test_new_weights_are_float32_as_in_every_module(name):
    shapes = jax.eval_shape(
        MODELS[name].init, jax.random.key(0), SIGNALS.astype(jnp.bfloat16)
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}


@every_model
@pytest.mark.parametrize(
    ("vocabulary", "inputs", "message"),
    [
        (9, SIGNALS, "integer tokens of shape"),
        (None, TOKENS, "real signals of shape"),
        (None, SIGNALS[0], "real signals of shape"),
        (9, TOKENS[..., None], "integer tokens of shape"),
        (9, TOKENS[:, :0], r"shape \(2, 0\) have no step"),
        (None, SIGNALS[:, :0], r"shape \(2, 0, 3\) have no step"),
    ],
)
def test_inputs_of_another_kind_or_without_steps_are_refused(
    name, vocabulary, inputs, message
):
    model = MODELS[name].clone(vocabulary=vocabulary)
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(model.init, jax.random.key(0), inputs)


@every_model
def test_an_unknown_way_to_read_states_is_refused(name):
    model = MODELS[name].clone(reads="first")
    with pytest.raises(ValueError, match="'last' or 'mean', and not 'first'"):
        jax.eval_shape(model.init, jax.random.key(0), SIGNALS)
