"""Maps of attention, against the textbook, over many spellings of one transformer."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

import jaxinterp as ji
from jaxinterp.attribution import (
    attention_grad,
    attention_grad_rollout,
    attention_rollout,
)
from jaxinterp.objectives import total
from jaxinterp.tracing import AddressError
from tests.compiled import compiled
from tests.networks import functions as models
from tests.networks.architectures import transformer as networks
from tests.oracles import attention as oracle

# As many examples as heads and positions: sizes tell nothing of an axis.
SIZE, WIDTH, FEATURES, DEPTH = 3, 6, 2, 2
LAYERS = [
    {
        **{
            n: models.normal(3 * i + j, WIDTH, SIZE, FEATURES)
            for j, n in enumerate("qkv")
        },
        "o": models.normal(90 + i, SIZE, FEATURES, WIDTH) / 3,
    }
    for i in range(DEPTH)
]
HEAD = models.normal(50, WIDTH, 4)
WEIGHTS = {"layers": LAYERS, "head": HEAD}
X = models.normal(60, SIZE, SIZE, WIDTH)
TARGET = np.array([0, 3, 1])
CAUSAL = np.tril(np.ones((1, 1, SIZE, SIZE), bool))


# --- Spellings of one layer: of (batch, position, width) ------------------------------


def by_einsum(layer, x):
    q, k, v = (jnp.einsum("bnd,dhf->bnhf", x, layer[n]) for n in "qkv")
    scores = jnp.where(CAUSAL, jnp.einsum("bthf,bshf->bhts", q, k), -jnp.inf)
    mixed = jnp.einsum("bhts,bshf->bthf", jax.nn.softmax(scores), v)
    return jnp.einsum("bthf,hfd->btd", mixed, layer["o"])


def by_jax(layer, x):
    q, k, v = (jnp.einsum("bnd,dhf->bnhf", x, layer[n]) for n in "qkv")
    mixed = jax.nn.dot_product_attention(q, k, v, scale=1.0, is_causal=True)
    return jnp.einsum("bthf,hfd->btd", mixed, layer["o"])


def by_flax(layer, x):
    q, k, v = (jnp.einsum("bnd,dhf->bnhf", x, layer[n]) for n in "qkv")
    mixed = nn.dot_product_attention(q * FEATURES**0.5, k, v, mask=CAUSAL)
    return jnp.einsum("bthf,hfd->btd", mixed, layer["o"])


def fused(layer, x):
    kernel = jnp.stack([layer[n] for n in "qkv"], axis=1)
    q, k, v = jnp.moveaxis(jnp.einsum("bnd,dchf->bnchf", x, kernel), 2, 0)
    bias = jnp.where(CAUSAL, 0.0, -1e30)
    weights = jax.nn.softmax(jnp.einsum("bthf,bshf->bhts", q, k) + bias)
    mixed = jnp.einsum("bhts,bshf->bthf", weights, v)
    return mixed.reshape(x.shape) @ layer["o"].reshape(WIDTH, WIDTH)


def merged(layer, x):
    """Examples and positions in one axis, then examples and heads, as with `bmm`."""
    flat = x.reshape(-1, WIDTH)

    def split(name):
        y = flat @ layer[name].reshape(WIDTH, -1)
        y = y.reshape(*x.shape[:2], SIZE, FEATURES).transpose(0, 2, 1, 3)
        return y.reshape(-1, x.shape[1], FEATURES)

    q, k, v = map(split, "qkv")
    scores = jnp.where(CAUSAL[0], q @ k.transpose(0, 2, 1), -1e30)
    mixed = (jax.nn.softmax(scores) @ v).reshape(-1, SIZE, x.shape[1], FEATURES)
    mixed = mixed.transpose(0, 2, 1, 3).reshape(-1, WIDTH)
    return (mixed @ layer["o"].reshape(WIDTH, -1)).reshape(x.shape)


def positions_first(layer, x):
    x = x.swapaxes(0, 1)
    q, k, v = (jnp.einsum("nbd,dhf->nhbf", x, layer[n]) for n in "qkv")
    scores = jnp.einsum("thbf,shbf->sthb", q, k)
    scores = jnp.where(CAUSAL.T, scores, -jnp.inf)
    mixed = jnp.einsum("sthb,shbf->tbhf", jax.nn.softmax(scores, axis=0), v)
    return jnp.einsum("tbhf,hfd->btd", mixed, layer["o"])


def written_out(layer, x):
    """Exponentials over their sum; masked after them, in a lower precision and back."""
    q, k, v = (jnp.einsum("bnd,dhf->bhnf", x, layer[n]) for n in "qkv")
    weights = jnp.exp(q @ k.swapaxes(-1, -2)) * CAUSAL
    weights = weights / jnp.sum(weights, axis=-1, keepdims=True)
    mixed = v.swapaxes(-1, -2) @ weights.swapaxes(-1, -2)
    return jnp.einsum("bhft,hfd->btd", mixed, layer["o"])


def mapped(layer, x):
    def of_head(x, q, k, v, o):
        scores = jnp.where(CAUSAL[0, 0], (x @ q) @ (x @ k).T, -jnp.inf)
        return jax.nn.softmax(scores) @ (x @ v) @ o

    heads = jax.vmap(of_head, in_axes=(None, 1, 1, 1, 0))
    each = jax.vmap(heads, in_axes=(0, None, None, None, None))
    return each(x, *(layer[n] for n in "qkvo")).sum(1)


def dropped_out(layer, x):
    """With what dropout leaves at an attention that keeps all, and a second cast."""
    q, k, v = (jnp.einsum("bnd,dhf->bnhf", x, layer[n]) for n in "qkv")
    scores = jnp.where(CAUSAL, jnp.einsum("bthf,bshf->bhts", q, k), -jnp.inf)
    weights = jax.nn.softmax(scores)
    keep = jax.random.bernoulli(jax.random.key(0), 1.0, weights.shape)
    weights = lax.select(keep, weights / 1.0, jnp.zeros_like(weights))
    mixed = jnp.einsum("bhts,bshf->bthf", weights, v)
    return jnp.einsum("bthf,hfd->btd", mixed, layer["o"])


# --- Spellings of the stack -----------------------------------------------------------


def stacked(layer_fn, v, x):
    for layer in v["layers"]:
        x = x + layer_fn(layer, x)
    return x[:, -1] @ v["head"]


def scanned(layer_fn, v, x):
    layers = jax.tree.map(lambda *leaves: jnp.stack(leaves), *v["layers"])
    x, _ = lax.scan(lambda x, layer: (x + layer_fn(layer, x), None), x, layers)
    return x[:, -1] @ v["head"]


def scanned_by_twos(layer_fn, v, x):
    """Two layers in each step, and their parameters not stacked."""
    first, second = v["layers"]

    def step(x, _):
        x = x + layer_fn(first, x)
        return x + layer_fn(second, x), None

    x, _ = lax.scan(step, x, None, length=1)
    return x[:, -1] @ v["head"]


MODELS = {
    **{
        fn.__name__: functools.partial(stacked, fn)
        for fn in (
            by_einsum,
            by_jax,
            by_flax,
            fused,
            merged,
            positions_first,
            written_out,
            mapped,
            dropped_out,
        )
    },
    "checkpointed": functools.partial(stacked, jax.checkpoint(by_einsum)),
    "scanned": functools.partial(scanned, by_einsum),
    "scanned_merged": functools.partial(scanned, jax.checkpoint(merged)),
    "scanned_by_twos": functools.partial(scanned_by_twos, fused),
}


@functools.cache
def expected():
    """The three maps of every example, from the textbook."""
    maps = []
    for x, target in zip(X, TARGET, strict=True):
        attention, _ = oracle.transformer(LAYERS, x, {})
        slopes = oracle.slopes(LAYERS, x, lambda y, t=target: y[-1] @ HEAD[:, t])
        maps.append(
            (
                oracle.rollout(attention),
                oracle.attention_grad(attention, slopes),
                oracle.attention_grad_rollout(attention, slopes),
            )
        )
    return tuple(np.stack(each) for each in zip(*maps, strict=True))


@functools.cache
def received(name):
    def maps(v, x, target):
        return tuple(
            method(MODELS[name])(v, x, target)
            for method in (attention_rollout, attention_grad, attention_grad_rollout)
        )

    return compiled(maps)(WEIGHTS, X, TARGET)


@pytest.mark.parametrize("name", MODELS)
def test_every_spelling_gives_the_maps_of_the_textbook(name):
    rollout, *of_slopes = expected()
    # JAX takes its softmax in float32.
    atol = 1e-5 if name == "by_jax" else 1e-9
    ours, *others = received(name)
    np.testing.assert_allclose(ours, rollout, atol=atol)
    for actual, textbook in zip(others, of_slopes, strict=True):
        # slopes by central differences
        np.testing.assert_allclose(actual, textbook, atol=max(atol, 1e-8))
    for actual, same in zip(others, received("by_einsum")[1:], strict=True):
        np.testing.assert_allclose(actual, same, atol=atol)


# --- Properties -----------------------------------------------------------------------


def test_rows_of_the_rollout_are_shares_and_nothing_comes_from_the_future():
    rollout, grad, grad_rollout = received("by_einsum")
    np.testing.assert_allclose(rollout.sum(-1), 1, atol=1e-12)
    for values in (rollout, grad, grad_rollout):
        np.testing.assert_array_equal(np.triu(values, 1), 0)
    assert grad_rollout.min() == 0
    assert grad.min() < 0
    assert grad_rollout.max() > 0.01


def test_with_a_composite_relevance_takes_the_place_of_attention():
    model, position = models.attentive, -1
    v, x, target = models.attentive_weights(), models.vectors(), models.targets()
    softmaxes = ji.of_role("softmax")

    @compiled
    def parts(v, x):
        rolled = attention_grad_rollout(model, position=position, composite="attn_lrp")
        by_rules = ji.attribution.lrp(model, composite="attn_lrp", at=softmaxes)
        slopes = ji.attribution.gradient(model, at=softmaxes)
        of_call = [method(v, x, target) for method in (rolled, by_rules, slopes)]
        return of_call[0], list(of_call[1].values()), list(of_call[2].values())

    received, relevance, slopes = parts(v, x)
    assert len(relevance) == 2
    for example in range(3):
        rolled = np.eye(5)
        for r, g in zip(relevance, slopes, strict=True):
            layer = np.maximum(np.asarray(r[example] * g[example]), 0)
            rolled = (np.eye(5) + layer) @ rolled
        expected = (rolled - np.eye(5))[position]
        np.testing.assert_allclose(received[example], expected, rtol=1e-9)


def test_a_position_is_a_row():
    whole = received("by_einsum")
    model = MODELS["by_einsum"]
    methods = (attention_rollout, attention_grad, attention_grad_rollout)
    for method, matrices in zip(methods, whole, strict=True):
        row = method(model, position=-1)(WEIGHTS, X, TARGET)
        np.testing.assert_allclose(row, matrices[:, -1], atol=1e-12)


def test_layers_within_a_step_and_loops_within_a_loop_keep_their_order():
    v = {"layers": [*LAYERS, *LAYERS[::-1]], "head": HEAD}

    def paired(v):
        together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *v["layers"])
        return jax.tree.map(lambda leaf: leaf.reshape(2, 2, *leaf.shape[1:]), together)

    def step(x, layer):
        return x + by_einsum(layer, x), None

    def by_twos(v, x):
        def two(x, layers):
            for i in (0, 1):
                x, _ = step(x, jax.tree.map(lambda leaf, i=i: leaf[i], layers))
            return x, None

        return lax.scan(two, x, paired(v))[0][:, -1] @ v["head"]

    def nested(v, x):
        def inner(x, layers):
            return lax.scan(step, x, layers)[0], None

        return lax.scan(inner, x, paired(v))[0][:, -1] @ v["head"]

    expected = attention_rollout(MODELS["by_einsum"])(v, X)
    for model in (by_twos, nested):
        received = compiled(attention_rollout(model))(v, X)
        np.testing.assert_allclose(received, expected, atol=1e-12)


def test_an_example_alone_gives_the_same():
    model = MODELS["merged"]
    alone = compiled(attention_rollout(model))(WEIGHTS, X[1:2])
    np.testing.assert_allclose(alone, received("merged")[0][1:2], atol=1e-12)


def test_products_of_attention_and_slope_are_what_a_head_does_if_it_alone_is_linear():
    """Of the last layer the sum over sources is what the layer adds to the score."""
    (last,) = LAYERS[1:]
    model = functools.partial(stacked, by_einsum)
    received = attention_grad(model)({"layers": [last], "head": HEAD}, X, TARGET)
    x = jnp.asarray(X)
    added = np.asarray(by_einsum(last, x)[:, -1] @ HEAD)
    np.testing.assert_allclose(received.sum((1, 2)), added[range(SIZE), TARGET])


def grouped(spelling, v, x):
    """Two query heads for each of three keys; in as many groups as positions."""
    q = jnp.einsum("bnd,dgrf->bngrf", x, v["q"])
    k, val = (jnp.einsum("bnd,dgf->bngf", x, v[n]) for n in "kv")
    return spelling(q, k, val)


def in_groups(q, k, v):
    weights = jax.nn.softmax(jnp.einsum("btgrf,bsgf->bgrts", q, k))
    return jnp.einsum("bgrts,bsgf->btgrf", weights, v)


def repeated(q, k, v):
    k, v = (jnp.repeat(y, q.shape[3], axis=2) for y in (k, v))
    q = q.reshape(*q.shape[:2], -1, q.shape[-1])
    return jax.nn.dot_product_attention(q, k, v, scale=1.0)


def grouped_by_jax(q, k, v):
    q = q.reshape(*q.shape[:2], -1, q.shape[-1])
    return jax.nn.dot_product_attention(q, k, v, scale=1.0)


def test_keys_that_are_shared_by_groups_of_heads():
    v = {"q": models.normal(1, WIDTH, 3, 3, 2)}
    v |= {n: models.normal(2, WIDTH, 3, 2) for n in "kv"}
    q = np.einsum("bnd,dgrf->bngrf", X, v["q"])
    k = np.einsum("bnd,dgf->bngf", X, v["k"])
    scores = np.exp(np.einsum("btgrf,bsgf->bgrts", q, k))
    attention = (scores / scores.sum(-1, keepdims=True)).reshape(SIZE, 9, SIZE, SIZE)
    expected = [oracle.rollout([matrices]) for matrices in attention]
    for spelling in (in_groups, repeated, grouped_by_jax):
        model = functools.partial(grouped, spelling)
        received = attention_rollout(model)(v, X)
        # JAX takes its softmax in float32.
        atol = 1e-12 if spelling is in_groups else 1e-6
        np.testing.assert_allclose(received, expected, atol=atol)


@pytest.mark.parametrize("entry", networks.ENTRIES, ids=lambda entry: entry.name)
def test_networks_of_flax(entry):
    """The captured softmaxes, one after the other."""
    apply_fn, variables = entry.build()
    x = entry.inputs()
    received = compiled(attention_rollout(apply_fn))(variables, x)
    _, softmaxes = ji.capture(apply_fn, "*softmax")(variables, x)
    layers = list(softmaxes.values())
    layers = layers[0] if len(layers) == 1 else np.stack(layers)
    for i, actual in enumerate(received):
        expected = oracle.rollout(list(np.asarray(layers[:, i])))
        np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_a_mask_of_padding_that_is_read_from_the_tokens():
    def model(v, tokens):
        x = v["table"][tokens]
        padding = (tokens == 0)[:, None, :]
        weights = jnp.where(padding, -jnp.inf, jnp.einsum("btd,bsd->bts", x, x))
        weights = jnp.where(padding, 0.0, jax.nn.softmax(weights))
        return (x + weights @ x)[:, 0] @ v["head"]

    tokens = np.array([[3, 1, 2, 0], [1, 2, 0, 0]])
    v = {"table": models.normal(7, 4, WIDTH), "head": HEAD}
    for method in (attention_rollout, attention_grad):
        row = method(model, position=0)(v, tokens, 1)
        np.testing.assert_array_equal(np.asarray(row) == 0, tokens == 0)


def test_weights_that_are_no_softmax_are_named():
    def model(v, x):
        with jax.named_scope("attention"):
            weights = jax.nn.sigmoid(jnp.einsum("btd,bsd->bts", x, x))
        return x + weights @ x

    with pytest.raises(ValueError, match=r"no attention.*\n.*give `at` the sites"):
        attention_rollout(model)(None, X)
    received = attention_rollout(model, at="attention/sigmoid")(None, X)
    weights = 1 / (1 + np.exp(-np.einsum("btd,bsd->bts", X, X)))
    expected = [oracle.rollout([matrix[None]]) for matrix in weights]
    np.testing.assert_allclose(received, expected, atol=1e-12)


# --- What is no self-attention --------------------------------------------------------


def cross(v, x):
    y, x = x["to"], x["from"]
    return y + jax.nn.softmax(jnp.einsum("btd,bsd->bts", y, x)) @ x


def halves(v, x):
    return cross(v, {"to": x[:, :2], "from": x[:, 2:]})


def queries(v, x):
    weights = jax.nn.softmax(jnp.einsum("qd,bsd->bqs", X[0], x))
    return weights @ x


def pooled(v, x):
    weights = jax.nn.softmax(x @ HEAD[:, 0])
    return jnp.einsum("bn,bnd->bd", weights, x)


def in_windows(v, x):
    """Attention within windows of two positions."""
    y = x.reshape(x.shape[0], -1, 2, WIDTH)
    weights = jax.nn.softmax(jnp.einsum("bwtd,bwsd->bwts", y, y))
    return x + (weights @ y).reshape(x.shape)


def in_merged_windows(v, x):
    """The same of an image's patches, with examples and windows in one axis."""
    y = models.convolve(x, models.normal(0, 3, 3, 2, 4))[:, 1:, 1:]
    y = y.reshape(x.shape[0], 2, 2, 2, 2, -1)
    y = y.transpose(0, 1, 3, 2, 4, 5).reshape(-1, 4, y.shape[-1])
    return (jax.nn.softmax(y @ y.swapaxes(1, 2)) @ y).reshape(x.shape[0], -1)


def of_others(v, x):
    """Attention to positions, then to a part of them."""
    x = x + jax.nn.softmax(x @ x.swapaxes(1, 2)) @ x
    x = x[:, 1:]
    return x + jax.nn.softmax(x @ x.swapaxes(1, 2)) @ x


def side_by_side(v, x):
    scores = jnp.einsum("btd,bsd->bts", x, x)
    return jax.nn.softmax(scores) @ x + jax.nn.softmax(-scores) @ x


def scanned_heads(v, x):
    def head(_, scale):
        scores = jnp.einsum("btd,bsd->bts", scale * x, x)
        return None, jax.nn.softmax(scores) @ x

    return lax.scan(head, None, jnp.arange(3.0))[1].sum(0)


def example_by_example(v, x):
    return lax.map(lambda row: jax.nn.softmax(row @ row.T) @ row, x)


def in_a_while(v, x):
    return lax.while_loop(
        lambda state: state[0] < 2,
        lambda state: (state[0] + 1, by_einsum(LAYERS[0], state[1])),
        (0, x),
    )[1]


def as_a_gate(v, x):
    return jax.nn.softmax(x @ LAYERS[0]["q"][:, 0]) * (x @ LAYERS[0]["k"][:, 0])


EIGHT = models.normal(8, 2, 4, WIDTH)
WRONG = {
    "cross": (cross, {"to": X[:, :2], "from": X}, "no matrix of self-attention"),
    "cross, as many": (cross, {"to": X, "from": X}, "no matrix of self-attention"),
    "halves": (halves, EIGHT, "0 other axes have the same"),
    "queries": (queries, X, "no matrix of self-attention"),
    "pooled": (pooled, X, "0 other axes have the same"),
    "windows": (in_windows, EIGHT, "within windows: axis 1"),
    "merged windows": (
        in_merged_windows,
        models.images()[:, :5, :5],
        "within windows: axis 0",
    ),
    "others": (of_others, X, "not over the same positions"),
    "side by side": (side_by_side, X, "side by side"),
    "scanned heads": (scanned_heads, X, "side by side"),
    "one example": (example_by_example, X, "examples on none of its axes"),
    "while": (in_a_while, X, "in a `while`"),
    "gate": (as_a_gate, X, "no matrix of attention"),
    "none": (lambda v, x: jnp.tanh(x), X, "no attention.*\n.*softmaxes: none"),
    "output": (
        lambda v, x: jax.nn.softmax(x),
        X,
        "no attention.*\n.*softmaxes: softmax",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_rolled_out_is_an_error(name):
    model, x, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        attention_rollout(model)(None, x)


def test_what_is_no_attention_can_be_left_out():
    def model(v, x):
        with jax.named_scope("attention"):
            weights = jax.nn.softmax(jnp.einsum("btd,bsd->bts", x, x))
        return pooled(v, x + weights @ x)

    with pytest.raises(ValueError, match=r"'softmax'.*\n.*\n.*at='"):
        attention_rollout(model)(None, X)
    rows = attention_rollout(model, at="attention/softmax")(None, X)
    np.testing.assert_allclose(rows.sum(-1), 1, atol=1e-12)
    with pytest.raises(AddressError, match="attention/softmax"):
        attention_rollout(model, at="attention/softmin")(None, X)


def test_a_wrong_position_is_an_error():
    model = MODELS["by_einsum"]
    with pytest.raises(TypeError, match="`position` must be an integer or None"):
        attention_rollout(model, position=1.0)  # pyright: ignore[reportArgumentType]  wrong
    with pytest.raises(ValueError, match="no position 3: there are 3"):
        attention_rollout(model, position=3)(WEIGHTS, X)


def test_a_score_that_reads_no_attention_is_an_error():
    def model(v, x):
        return x[:, 0], by_einsum(LAYERS[0], x)

    def first(outputs, target):
        return outputs[0].sum(-1)

    for method in (attention_grad, attention_grad_rollout):
        with pytest.raises(ValueError, match="does not depend"):
            method(model, score=first)(None, X)
        assert method(model, score=lambda y, t: total(y[1], t))(None, X).any()


# --- Heads and layers -----------------------------------------------------------------


def test_heads_and_layers_that_are_chosen_are_those_of_the_textbook():
    methods = (attention_rollout, attention_grad, attention_grad_rollout)

    @compiled
    def chosen(v, x, target):
        return [
            method(MODELS["scanned"], layers=[1], heads=(0, -1))(v, x, target)
            for method in methods
        ]

    maps = chosen(WEIGHTS, X, TARGET)
    for i, (x, target) in enumerate(zip(X, TARGET, strict=True)):
        attention, _ = oracle.transformer(LAYERS, x, {})
        slopes = oracle.slopes(LAYERS, x, lambda y, t=target: y[-1] @ HEAD[:, t])
        a, g = [attention[1][[0, 2]]], [slopes[1][[0, 2]]]
        np.testing.assert_allclose(maps[0][i], oracle.rollout(a), atol=1e-9)
        np.testing.assert_allclose(maps[1][i], oracle.attention_grad(a, g), atol=1e-8)
        expected = oracle.attention_grad_rollout(a, g)
        np.testing.assert_allclose(maps[2][i], expected, atol=1e-8)


def test_the_maps_of_all_heads_and_layers_add_up():
    model = MODELS["by_einsum"]
    each = [
        attention_grad(model, layers=layer, heads=head, position=-1)(WEIGHTS, X, TARGET)
        for layer, head in np.ndindex(DEPTH, SIZE)
    ]
    whole = received("by_einsum")[1][:, -1]
    np.testing.assert_allclose(sum(each), whole, atol=1e-12)


@pytest.mark.usefixtures("unchecked")
def test_a_wrong_head_or_layer_is_an_error():
    model = MODELS["by_einsum"]
    for method in (attention_rollout, attention_grad, attention_grad_rollout):
        with pytest.raises(TypeError, match="`heads` are one integer, a list"):
            method(model, heads="0")
        with pytest.raises(TypeError, match=r"`layers` are .*\n.*belong to `at`"):
            method(model, layers=[0, 1.5])
        with pytest.raises(ValueError, match="`layers` is empty"):
            method(model, layers=[])
    with pytest.raises(ValueError, match="no head 3: there are 3"):
        attention_rollout(model, heads=3)(WEIGHTS, X)
    with pytest.raises(ValueError, match="no layer 2: there are 2"):
        attention_rollout(model, layers=[0, 2])(WEIGHTS, X)


def test_an_empty_batch_has_no_maps():
    def model(w, x):
        scores = jnp.einsum("btd,bsd->bts", x, x)
        return (x + jax.nn.softmax(scores) @ x).sum(1)

    nothing = np.zeros((0, 3, 2))
    assert attention_rollout(model)(None, nothing).shape == (0, 3, 3)
    assert attention_grad_rollout(model, score=total)(None, nothing).shape == (0, 3, 3)
