"""Cross-attention rolled out, against the textbook: an encoder and its decoder."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxinterp as ji
from jaxinterp.attribution import attention_grad_rollout, attention_rollout
from tests.compiled import compiled
from tests.networks import functions as models
from tests.oracles import attention as oracle

BATCH, WIDTH, HEADS, FEATURES = 2, 5, 2, 3
LAYERS = [
    {
        n: models.normal(5 * i + j, WIDTH, HEADS, FEATURES) / 2
        for j, n in enumerate("qkv")
    }
    | {"o": models.normal(90 + i, HEADS, FEATURES, WIDTH) / 3}
    for i in range(len(oracle.KINDS))
]
WEIGHTS = {"layers": LAYERS, "head": models.normal(50, WIDTH, 4)}
# As many positions as heads in one, and as examples: sizes tell nothing of an axis.
X = {
    "from": models.normal(60, BATCH, 3, WIDTH),
    "to": models.normal(61, BATCH, 2, WIDTH),
}
TARGET = np.array([1, 3])


def attend(layer, y, x):
    q = jnp.einsum("btd,dhf->bthf", y, layer["q"])
    k, v = (jnp.einsum("bsd,dhf->bshf", x, layer[n]) for n in "kv")
    weights = jax.nn.softmax(jnp.einsum("bthf,bshf->bhts", q, k))
    return jnp.einsum("bhts,bshf,hfd->btd", weights, v, layer["o"])


def written_out(v, x):
    streams = [x["from"], x["to"]]
    for layer, (t, s) in zip(v["layers"], oracle.KINDS, strict=True):
        name = ("encoder", "decoder", "cross")[t + (t != s)]
        with jax.named_scope(name):
            streams[t] = streams[t] + attend(layer, streams[t], streams[s])
    return streams[1][:, -1] @ v["head"]


def scanned(v, x):
    """The layers of the encoder in one loop, the pairs of the decoder in another."""

    def stacked(start, step):
        layers = v["layers"][start::step]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers)

    def encode(x, layer):
        return x + attend(layer, x, x), None

    encoded, _ = lax.scan(
        encode, x["from"], jax.tree.map(lambda a: a[:2], stacked(0, 1))
    )

    def decode(y, layers):
        own, cross = layers
        y = y + attend(own, y, y)
        return y + attend(cross, y, encoded), None

    pairs = tuple(jax.tree.map(lambda a: a[1:], stacked(i, 2)) for i in (0, 1))
    return lax.scan(decode, x["to"], pairs)[0][:, -1] @ v["head"]


@functools.cache
def expected():
    """For each example what the decoder reads of both kinds of positions."""
    maps = []
    for x, y, target in zip(X["from"], X["to"], TARGET, strict=True):
        score = lambda z, t=target: z[-1] @ WEIGHTS["head"][:, t]  # noqa: E731
        run = oracle.encoder_decoder
        attention, _ = run(LAYERS, (x, y), {})
        slopes = oracle.slopes(LAYERS, (x, y), score, run)
        maps.append(oracle.streams_rollout(attention, slopes))
    return [np.stack(each) for each in zip(*maps, strict=True)]


@pytest.mark.parametrize("model", [written_out, scanned])
def test_both_kinds_of_positions_have_the_relevance_of_the_paper(model):
    rolled = compiled(attention_grad_rollout(model))(WEIGHTS, X, TARGET)
    for received, textbook in zip(rolled.values(), expected(), strict=True):
        # slopes by central differences
        np.testing.assert_allclose(received, textbook, atol=1e-8)
        assert received.max() > 1e-3
    row = attention_grad_rollout(model, position=-1)(WEIGHTS, X, TARGET)
    for received, textbook in zip(row.values(), expected(), strict=True):
        np.testing.assert_allclose(received, textbook[:, -1], atol=1e-8)


def test_each_kind_is_named_by_the_first_layer_that_reads_it():
    rolled = jax.eval_shape(attention_grad_rollout(written_out), WEIGHTS, X, TARGET)
    assert [name.split("/")[0] for name in rolled] == ["encoder", "decoder"]


def test_layers_and_heads_are_chosen_and_cross_attention_is_a_layer():
    rollout = attention_grad_rollout(written_out, layers=3, heads=1)
    received, own = rollout(WEIGHTS, X, TARGET).values()
    np.testing.assert_array_equal(own, 0)
    for i, (x, y, target) in enumerate(zip(X["from"], X["to"], TARGET, strict=True)):
        score = lambda z, t=target: z[-1] @ WEIGHTS["head"][:, t]  # noqa: E731
        run = oracle.encoder_decoder
        attention, _ = run(LAYERS, (x, y), {})
        slope = oracle.slopes(LAYERS, (x, y), score, run)[3][1]
        np.testing.assert_allclose(
            received[i], np.maximum(attention[3][1] * slope, 0), atol=1e-8
        )


def of_queries(v, x):
    """Learned queries read an encoder that has no attention, then one another."""
    y = jnp.broadcast_to(v["queries"], (x.shape[0], *v["queries"].shape[1:]))
    y = y + attend(v["layers"][3], y, x)
    y = y + attend(v["layers"][4], y, y)
    return y[:, 0] @ v["head"]


def test_learned_queries_read_positions():
    v = WEIGHTS | {"queries": models.normal(70, 1, 4, WIDTH)}
    rollout = compiled(attention_grad_rollout(of_queries))
    read, own = rollout(v, X["from"], TARGET).values()
    assert read.shape == (BATCH, 4, 3)
    assert own.shape == (BATCH, 4, 4)
    assert read[:, 0].min() >= 0
    assert read[:, 0].max() > 1e-3


def test_attention_that_pools_is_rolled_out_to_what_it_reads():
    def model(v, x):
        x = x["from"] + attend(v["layers"][0], x["from"], x["from"])
        weights = jax.nn.softmax(x @ v["head"][:, 0])
        return jnp.einsum("bn,bnd->bd", weights, x) @ v["head"]

    def parts(v, x):
        softmaxes = ji.of_role("softmax")
        slopes = ji.attribution.gradient(model, at=softmaxes)(v, x, TARGET)
        rolled = attention_grad_rollout(model, position=0)(v, x, TARGET)
        weights = ji.capture(model, softmaxes)(v, x)[1]
        return rolled, [weights[site] * slopes[site] for site in slopes]

    rolled, products = compiled(parts)(WEIGHTS, X)
    (received,) = rolled.values()
    of_heads, pooled = (np.maximum(product, 0) for product in products)
    own = of_heads.mean(1)
    rows = own.sum(-1, keepdims=True)
    read = np.eye(3) + own / np.where(rows > 0, rows, 1.0)
    expected = np.einsum("bn,bnm->bm", pooled, read)
    np.testing.assert_allclose(received, expected, rtol=1e-9, atol=1e-15)


# --- What has no order ----------------------------------------------------------------


def of_a_part(v, x):
    """Positions that are some of those that attention was at before."""
    x = x["from"] + attend(v["layers"][0], x["from"], x["from"])
    part = x[:, 1:]
    return (part + attend(v["layers"][1], part, part))[:, 0] @ v["head"]


def of_an_earlier_layer(v, x):
    """The decoder reads the encoder's first layer, and its second one is read too."""
    first = x["from"] + attend(v["layers"][0], x["from"], x["from"])
    second = first + attend(v["layers"][1], first, first)
    y = x["to"] + attend(v["layers"][3], x["to"], first)
    return y[:, 0] @ v["head"] + second[:, 0] @ v["head"]


@pytest.mark.parametrize(
    ("model", "message"),
    [(of_a_part, "not over the same positions"), (of_an_earlier_layer, "side by side")],
)
def test_what_is_not_one_layer_after_the_other_is_an_error(model, message):
    with pytest.raises(ValueError, match=message):
        attention_grad_rollout(model)(WEIGHTS, X, TARGET)


def test_the_rollout_without_gradients_says_what_rolls_out_cross_attention():
    with pytest.raises(ValueError, match="`attention_grad_rollout` alone"):
        attention_rollout(written_out)(WEIGHTS, X)
