"""Transformers: what they compute, what they may not see, how their sites are named."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.models.architectures.attention import Attention, rotate
from jaxinterp.models.architectures.bert import Bert
from jaxinterp.models.architectures.llama import Llama
from jaxinterp.models.architectures.transformer import Transformer
from jaxinterp.models.architectures.vit import ViT
from tests.compiled import compiled
from tests.networks.families import TOKENS, TRANSFORMERS, built
from tests.networks.random_variables import random_variables

GPT2, LLAMA, BERT, VIT = (
    TRANSFORMERS[name].model for name in ("gpt2", "llama", "bert", "vit")
)
IMAGES = TRANSFORMERS["vit"].inputs
every_model = pytest.mark.parametrize("name", TRANSFORMERS)
every_decoder = pytest.mark.parametrize("name", ["gpt2", "induction", "llama"])


def run(model, *args, **named):
    return compiled(model.apply)(*args, **named)


def parameters(model, inputs):
    shapes = jax.eval_shape(model.init, jax.random.key(0), inputs)
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


def captured(model, variables, inputs, *sites):
    _, values = compiled(ji.capture(model.apply, "*"))(variables, inputs)
    return [values[f"{type(model).__name__}/{site}"] for site in sites]


# --- Sizes ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "inputs", "count"),
    [
        (Transformer(), jnp.zeros((1, 4), jnp.int32), 124_439_808),
        (Llama(), jnp.zeros((1, 4), jnp.int32), 1_100_048_384),
        (Bert(classes=None), jnp.zeros((1, 4), jnp.int32), 109_482_240),
        (ViT(), jnp.zeros((1, 224, 224, 3), jnp.float32), 86_567_656),
    ],
    ids=["gpt2", "tinyllama", "bert", "vit"],
)
def test_the_defaults_are_the_published_models(model, inputs, count):
    assert parameters(model, inputs) == count


def test_options_take_away_what_they_say():
    leaves = {
        name: {
            jax.tree_util.keystr(path, simple=True, separator="/")
            for path, _ in jax.tree.leaves_with_path(built(name)[1])
        }
        for name in ("gpt2", "induction", "modular addition")
    }
    assert "params/blocks_1/mlp/up/kernel" in leaves["gpt2"]
    assert not [leaf for leaf in leaves["induction"] if "mlp" in leaf]
    assert not [leaf for leaf in leaves["modular addition"] if "norm" in leaf]
    assert not [leaf for leaf in leaves["modular addition"] if leaf.endswith("bias")]
    assert "params/lm_head/kernel" not in leaves["gpt2"]
    assert "params/lm_head/kernel" in leaves["induction"]


def test_the_last_position_and_the_mean_are_those_of_every_position():
    model, variables, tokens = built("induction", np.float64)
    every = run(model, variables, tokens)
    last = run(model.clone(reads="last"), variables, tokens)
    mean = run(model.clone(reads="mean"), variables, tokens)
    np.testing.assert_allclose(last, every[:, -1], rtol=1e-12)
    np.testing.assert_allclose(mean, every.mean(axis=1), rtol=1e-12)


# --- What is seen ---------------------------------------------------------------------


@every_decoder
def test_later_tokens_do_not_change_earlier_logits(name):
    model, variables, tokens = built(name)
    before = run(model, variables, tokens)
    after = run(model, variables, tokens.at[:, 4].set(0))
    np.testing.assert_array_equal(before[:, :4], after[:, :4])
    assert np.abs(before[:, 4:] - after[:, 4:]).min(axis=-1).max() > 1e-4


def test_pad_tokens_change_nothing():
    model, variables, tokens = built("bert", np.float64)
    padded = jnp.concatenate([tokens, jnp.zeros((2, 2), tokens.dtype)], axis=1)
    np.testing.assert_allclose(
        run(model, variables, padded), run(model, variables, tokens), rtol=1e-9
    )
    unmasked = run(model.clone(pad_id=None), variables, padded)
    assert np.abs(unmasked - run(model, variables, tokens)).max() > 1e-3


def test_a_given_mask_hides_tokens_and_replaces_that_of_the_pad():
    model, variables, tokens = built("bert", np.float64)
    mask = jnp.ones(tokens.shape, bool).at[:, 3].set(False)
    hidden = run(model, variables, tokens, mask=mask)
    other = run(model, variables, tokens.at[:, 3].set(7), mask=mask)
    np.testing.assert_array_equal(hidden, other)
    assert np.abs(hidden - run(model, variables, tokens)).max() > 1e-3


@pytest.mark.slow(reason="one property of one option of one network")
def test_bert_tells_texts_apart_by_their_type():
    model, variables, tokens = built("bert")
    types = jnp.zeros_like(tokens).at[:, 3:].set(1)
    first = run(model, variables, tokens)
    np.testing.assert_array_equal(
        first, run(model, variables, tokens, jnp.zeros_like(tokens))
    )
    assert np.abs(first - run(model, variables, tokens, types)).max() > 1e-3


def test_bert_without_a_head_returns_pooled_features():
    model, variables, tokens = built("bert", np.float64)
    pooled = run(
        model.clone(classes=None),
        {"params": {k: v for k, v in variables["params"].items() if k != "head"}},
        tokens,
    )
    head = variables["params"]["head"]
    np.testing.assert_allclose(
        pooled @ head["kernel"] + head["bias"][None],
        run(model, variables, tokens),
        rtol=1e-9,
    )


def test_rotated_products_depend_on_the_distance_alone():
    rng = np.random.default_rng(0)
    query, key = rng.normal(size=(2, 6))
    at = [
        rotate(jnp.broadcast_to(jnp.asarray(x), (1, 9, 1, 6)))[0, :, 0]
        for x in (query, key)
    ]
    scores = np.asarray(at[0] @ at[1].T)
    for distance in range(-8, 9):
        diagonal = np.diagonal(scores, distance)
        np.testing.assert_allclose(diagonal, diagonal[0], rtol=1e-9, atol=1e-12)
    assert len(np.unique(scores.round(6))) == 17
    np.testing.assert_allclose(scores[0, 0], query @ key, rtol=1e-12)


def test_llamas_first_scores_depend_on_the_distance_alone():
    model, variables, _ = built("llama", np.float64)
    same = jnp.full((1, 6), 4, jnp.int32)
    (scores,) = captured(model, variables, same, "blocks_0/attention/scores")
    assert scores.shape == (1, 4, 6, 6)
    for distance in range(-5, 6):
        diagonals = np.diagonal(scores[0], distance, axis1=1, axis2=2)
        np.testing.assert_allclose(
            diagonals, np.broadcast_to(diagonals[:, :1], diagonals.shape), rtol=1e-9
        )


def test_groups_of_queries_share_a_key():
    """Grouped attention is full attention whose key kernels are repeated."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 5, 8)))
    grouped = Attention(heads=4, key_heads=2)
    variables = random_variables(grouped, x, dtype=np.float64)
    repeated = {
        name: {k: jnp.repeat(v, 2, axis=-2) for k, v in leaves.items()}
        if name in ("key", "value")
        else leaves
        for name, leaves in variables["params"].items()
    }
    np.testing.assert_allclose(
        run(grouped, variables, x),
        run(Attention(heads=4), {"params": repeated}, x),
        rtol=1e-9,
    )


# --- The same a second time, in NumPy -------------------------------------------------


def numpy_softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def numpy_layer_norm(x, p, epsilon):
    centered = x - x.mean(-1, keepdims=True)
    deviation = np.sqrt((centered**2).mean(-1, keepdims=True) + epsilon)
    return centered / deviation * p["scale"] + p["bias"]


def numpy_gpt2(params, tokens, heads):
    """One text; queries, keys and values head by head, position by position."""
    x = params["token_embedding"]["embedding"][tokens]
    x = x + params["position_embedding"]["embedding"][: len(tokens)]
    for i in range(2):
        p = params[f"blocks_{i}"]
        a = p["attention"]
        y = numpy_layer_norm(x, p["attention_norm"], 1e-5)
        for h in range(heads):
            query, key, value = (
                y @ a[name]["kernel"][:, h] + a[name]["bias"][h]
                for name in ("query", "key", "value")
            )
            for t in range(len(tokens)):
                scores = query[t] @ key[: t + 1].T / np.sqrt(query.shape[-1])
                read = numpy_softmax(scores) @ value[: t + 1]
                x[t] = x[t] + read @ a["out"]["kernel"][h]
        x = x + a["out"]["bias"]
        y = numpy_layer_norm(x, p["mlp_norm"], 1e-5)
        z = y @ p["mlp"]["up"]["kernel"] + p["mlp"]["up"]["bias"]
        z = 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))
        x = x + z @ p["mlp"]["down"]["kernel"] + p["mlp"]["down"]["bias"]
    x = numpy_layer_norm(x, params["norm"], 1e-5)
    return x @ params["token_embedding"]["embedding"].T


def numpy_rms_norm(x, p):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * p["scale"]


def numpy_turn(x, position):
    """Turns the features of one head as complex numbers."""
    half = len(x) // 2
    angles = position * 10_000.0 ** (-np.arange(half) / half)
    turned = (x[:half] + 1j * x[half:]) * np.exp(1j * angles)
    return np.concatenate([turned.real, turned.imag])


def numpy_llama(params, tokens, heads, key_heads):
    x = params["token_embedding"]["embedding"][tokens]
    for i in range(2):
        p = params[f"blocks_{i}"]
        a = {name: leaves["kernel"] for name, leaves in p["attention"].items()}
        y = numpy_rms_norm(x, p["attention_norm"])
        for h in range(heads):
            g = h // (heads // key_heads)
            key = [numpy_turn(row, s) for s, row in enumerate(y @ a["key"][:, g])]
            value = y @ a["value"][:, g]
            for t in range(len(tokens)):
                query = numpy_turn(y[t] @ a["query"][:, h], t)
                scores = np.array([query @ k for k in key[: t + 1]])
                pattern = numpy_softmax(scores / np.sqrt(len(query)))
                x[t] = x[t] + pattern @ value[: t + 1] @ a["out"][h]
        y = numpy_rms_norm(x, p["mlp_norm"])
        m = {name: leaves["kernel"] for name, leaves in p["mlp"].items()}
        gate = y @ m["gate"]
        x = x + (gate / (1 + np.exp(-gate)) * (y @ m["up"])) @ m["down"]
    return numpy_rms_norm(x, params["norm"]) @ params["lm_head"]["kernel"]


def test_gpt2_is_what_numpy_computes():
    model, variables, tokens = built("gpt2", np.float64)
    params = jax.tree.map(np.asarray, variables["params"])
    expected = [numpy_gpt2(params, np.asarray(text), 2) for text in tokens]
    np.testing.assert_allclose(run(model, variables, tokens), expected, rtol=1e-9)


def test_llama_is_what_numpy_computes():
    model, variables, tokens = built("llama", np.float64)
    params = jax.tree.map(np.asarray, variables["params"])
    expected = [numpy_llama(params, np.asarray(text), 4, 2) for text in tokens]
    np.testing.assert_allclose(run(model, variables, tokens), expected, rtol=1e-9)


# --- Sites ----------------------------------------------------------------------------

ATTENTION_SITES = ("query", "key", "value", "scores", "softmax", "heads", "out")


@every_model
def test_every_step_of_attention_has_an_address(name):
    model, variables, inputs = built(name)
    sites = ji.trace(model.apply, variables, inputs).sites
    block = f"{type(model).__name__}/blocks_0"
    wanted = {f"{block}/attention/{site}" for site in ATTENTION_SITES}
    wanted |= {f"{block}/attention", f"{block}/residual"}
    if name != "induction":
        wanted |= {f"{block}/residual_mid", f"{block}/mlp"}
    assert not wanted - set(sites)
    batch, heads = 2, model.heads
    length = 5 if name == "vit" else 6
    for site in ("scores", "softmax"):
        shape = sites[f"{block}/attention/{site}"].shape
        assert shape == (batch, heads, length, length)
    shape = sites[f"{block}/attention/heads"].shape
    assert shape == (batch, length, heads, 8 // heads)


@every_decoder
def test_the_sites_hold_what_their_names_say(name):
    model, variables, tokens = built(name, np.float64)
    at = "blocks_0/attention/"
    query, key = (
        ("query_rotated", "key_rotated") if name == "llama" else ("query", "key")
    )
    q, k, scores, pattern, heads, out = captured(
        model,
        variables,
        tokens,
        *(at + site for site in (query, key, "scores", "softmax", "heads", "out")),
    )
    k = np.repeat(k, q.shape[2] // k.shape[2], axis=2)
    products = np.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(q.shape[-1])
    np.testing.assert_allclose(scores, products, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(
        pattern.sum(axis=-1), np.ones((2, 4 if name == "llama" else 2, 6)), rtol=1e-12
    )
    assert np.triu(pattern[0, 0], 1).max() == 0
    leaves = variables["params"]["blocks_0"]["attention"]["out"]
    written = sum(heads[:, :, h] @ leaves["kernel"][h] for h in range(heads.shape[2]))
    written = written + leaves.get("bias", jnp.zeros(8))[None, None]
    np.testing.assert_allclose(out, written, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["gpt2", "llama", "vit"])
def test_the_stream_is_the_sum_of_what_is_written_to_it(name):
    model, variables, inputs = built(name, np.float64)
    before, attention, middle, mlp, after = captured(
        model,
        variables,
        inputs,
        "token_embedding" if name == "llama" else "residual",
        "blocks_0/attention",
        "blocks_0/residual_mid",
        "blocks_0/mlp",
        "blocks_0/residual",
    )
    np.testing.assert_allclose(middle, before + attention, rtol=1e-12)
    np.testing.assert_allclose(after, middle + mlp, rtol=1e-12)


@every_model
def test_one_site_is_the_embedding_of_tokens(name):
    model, variables, inputs = built(name)
    sites = ji.trace(model.apply, variables, inputs).sites
    found = [address for address in sites if address.endswith("embedding")]
    kind = "patch" if name == "vit" else "token"
    assert found == [f"{type(model).__name__}/{kind}_embedding"]


# --- Errors ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "inputs", "message"),
    [
        (GPT2, jnp.zeros((1, 9), jnp.int32), r"9 tokens and 8 .*max_length=9"),
        (BERT, jnp.zeros((1, 9), jnp.int32), r"9 tokens and 8 .*max_length=9"),
        (VIT, jnp.zeros((1, 6, 8, 3)), r"6 x 8, and the model takes 8 x 8"),
        (VIT.clone(patch_size=3), IMAGES, r"patches of 3"),
        (GPT2.clone(reads="last"), TOKENS[:, :0], r"reads='last'.* are 0 tokens"),
        (GPT2.clone(reads="mean"), TOKENS[:, :0], r"reads='mean'.* are 0 tokens"),
        (BERT, TOKENS[:, :0], r"are 0 tokens, and the first one is classified"),
        (GPT2.clone(classes=2), TOKENS, r"classes=2, is_tied=False"),
        (GPT2.clone(heads=3), TOKENS, r"3 heads do not divide a width of 8"),
        (LLAMA.clone(key_heads=3), TOKENS, r"3 key heads .* 4 query heads"),
        (LLAMA.clone(heads=8), TOKENS, r"a head has 1 features"),
        (GPT2.clone(reads="first"), TOKENS, r"'every', 'last' or 'mean', and not 'fir"),
        (GPT2.clone(activation="swish"), TOKENS, r"'swish'. There are: gelu"),
    ],
)
def test_what_does_not_fit_is_said(model, inputs, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(model.init, jax.random.key(0), inputs)
