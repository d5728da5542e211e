"""Addresses are readable, unique, and stay the same under transformations."""

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from flax import nnx
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from jaxinterp import capture, intervene, split, trace
from jaxinterp.tracing import AddressError, AmbiguousAddressError
from jaxinterp.tracing.recognition.addresses import short_names
from tests.networks.blocks import Block, Rematerialized, Reused, Scanned, mlp
from tests.proposals import proposals
from tests.tracing.arrays import normal, weights

X = normal(2, 4)
W = normal(4, 4)
LAYER = {"w": W, "b": normal(1, 4)}
MLP = {"layers": [LAYER, {"w": W + 1, "b": normal(1, 4)}], "head": normal(4, 3)}

BLOCK = ["Dense_0", "relu", "Dense_1", "add"]


def under(prefix, names):
    return [f"{prefix}/{name}" for name in names] + [prefix]


def scoped(v, x):
    with jax.named_scope("encoder"):
        for i in range(2):
            with jax.named_scope(f"layer_{i}"):
                x = jnp.tanh(x @ v)
    return x


def tagged(v, x):
    return checkpoint_name(jnp.tanh(checkpoint_name(x @ v, "pre") + 1), "post") * x


def attention(v, x):
    q, k, y = (x @ v["attention"][name] for name in ("q", "k", "v"))
    y = jax.nn.softmax(q @ k.T) @ y @ v["attention"]["out"]
    y = y * v["norm"]["scale"] + v["norm"]["bias"]
    return jnp.tanh(y) @ v["attention"]["q"].T


ATTENTION = {
    "attention": dict.fromkeys(("q", "k", "v", "out"), W),
    "norm": {"scale": normal(1, 4), "bias": normal(1, 4)},
}


def tied(v, x):
    with jax.named_scope("tied"):
        x = jnp.tanh(x @ v) @ v
    return jax.nn.relu(x)


TABLE = {
    "modules": (Block(), under("Block", BLOCK)),
    "scan": (
        Scanned(),
        [
            *("Scanned/stem", "Scanned/scan"),
            *under("Scanned/blocks/Block_0", BLOCK),
            *("Scanned/blocks", "Scanned/head", "Scanned"),
        ],
    ),
    "remat": (
        Rematerialized(),
        [
            *under("Rematerialized/first", BLOCK),
            *under("Rematerialized/second", BLOCK),
            "Rematerialized",
        ],
    ),
    "reuse": (
        Reused(),
        [
            *("Reused/layer", "Reused/relu", "Reused/layer@1", "Reused/relu_1"),
            *under("Reused/block", BLOCK),
            *under("Reused/block@1", BLOCK),
            *("Reused/layer@2", "Reused"),
        ],
    ),
    "pytree": (
        (mlp, MLP),
        ["layers/0", "relu", "layers/1", "relu_1", "head"],
    ),
    "pytree with several kernels in a module": (
        (attention, ATTENTION),
        [
            *("attention/q", "attention/k", "attention/v", "transpose"),
            *("attention_scores", "softmax", "attention_output", "attention/out"),
            *("norm", "attention", "tanh", "attention@1"),
        ],
    ),
    "shared weight": (
        (lambda v, x: jnp.tanh(x @ v["w"]) @ v["w"].T, LAYER),
        ["w", "tanh", "w@1"],
    ),
    "no name at all": (
        (lambda v, x: jnp.tanh(x @ v) + x @ v, W),
        ["dense", "tanh", "dense_1", "add"],
    ),
    "scopes": (
        (scoped, W),
        [
            *("encoder/layer_0/dense", "encoder/layer_0/tanh", "encoder/layer_0"),
            *("encoder/layer_1/dense", "encoder/layer_1/tanh", "encoder/layer_1"),
            "encoder",
        ],
    ),
    "one run of a module that uses its kernel twice": (
        (tied, W),
        ["tied/dense", "tied/tanh", "tied/dense_1", "tied", "relu"],
    ),
    "tags": ((tagged, W), ["dense", "pre", "tanh", "post", "mul"]),
}


def build(entry):
    return (entry.apply, weights(entry, X)) if isinstance(entry, nn.Module) else entry


@pytest.fixture(params=TABLE, ids=list(TABLE))
def network(request):
    entry, expected = TABLE[request.param]
    return (*build(entry), expected)


def test_addresses_are_module_paths_and_operations(network):
    apply_fn, variables, expected = network
    sites = trace(apply_fn, variables, X).sites
    shown = [a for a in sites if "transpose" not in a]
    assert sorted(shown) == sorted(a for a in expected if "transpose" not in a)


def test_transformations_do_not_rename(network):
    apply_fn, variables, _ = network
    seen = []

    def loss(x):
        outputs, activations = capture(apply_fn, "*")(variables, x)
        seen.append(tuple(activations))
        return outputs.sum()

    loss(X)
    jax.eval_shape(jax.jit(loss), X)
    jax.eval_shape(jax.grad(loss), X)
    jax.eval_shape(jax.grad(jax.checkpoint(loss)), X)
    jax.eval_shape(jax.vmap(loss), X[None])
    jax.eval_shape(lambda x: lax.scan(lambda c, _: (c, loss(x)), 0, None, 2), X)
    assert len(seen) >= 6
    assert len(set(seen)) == 1


def test_the_order_of_a_captured_dict_survives_jit(network):
    apply_fn, variables, _ = network
    sites = list(trace(apply_fn, variables, X).sites)
    captured = jax.eval_shape(capture(apply_fn, "*"), variables, X)[1]
    assert list(captured) == sites


def test_each_run_of_a_reused_module_is_a_site():
    module = Reused()
    variables = weights(module, X)
    _, found = capture(module.apply, "Reused/block*")(variables, X)
    first, second = found["Reused/block"], found["Reused/block@1"]
    block = {"params": variables["params"]["block"]}
    assert jnp.allclose(second, Block().apply(block, first), atol=1e-12)


def test_a_scanned_module_that_runs_twice_has_two_runs():
    class Twice(nn.Module):
        def setup(self):
            self.rnn = nn.RNN(nn.SimpleCell(4))

        def __call__(self, x):
            return self.rnn(self.rnn(x))

    module, x = Twice(), normal(2, 5, 4).astype(jnp.float32)
    variables = module.init(jax.random.key(0), x)
    found = trace(module.apply, variables, x).sites
    cells = [a for a in found if a.endswith("cell/h")]
    assert cells == ["Twice/rnn/cell.scan_fn/cell/h", "Twice/rnn@1/cell.scan_fn/cell/h"]


def test_a_loop_does_not_take_the_address_of_a_parameter_that_it_reads():
    def model(w, x):  # as Haiku has it: the layers have a scope, their loop has none
        def step(h, v):
            with jax.named_scope("lstm/linear"):
                gates = v @ w["lstm/linear"]["w"]
            return jnp.tanh(gates + h), h

        return lax.scan(step, jnp.zeros((3, 4)), x)[0]

    sites = trace(model, {"lstm/linear": {"w": W}}, normal(5, 3, 4)).sites
    assert sites["lstm/linear"].role == "dense"
    loops = [address for address, site in sites.items() if site.role == "loop"]
    assert all("lstm" not in address for address in loops)


def test_nnx_state_gives_names_without_an_adapter():
    class Model(nnx.Module):
        def __init__(self, rngs):
            self.hidden = nnx.Linear(4, 4, rngs=rngs)
            self.head = nnx.Linear(4, 3, rngs=rngs)

        def __call__(self, x):
            return self.head(nnx.relu(self.hidden(x)))

    graph, state = nnx.split(Model(nnx.Rngs(0)))
    sites = trace(lambda v, x: nnx.merge(graph, v)(x), state, X.astype(jnp.float32))
    assert list(sites.sites) == ["hidden", "relu", "head"]


def test_a_module_and_an_operation_of_one_name_stay_apart():
    def model(v, x):
        with jax.named_scope("relu"):
            x = jnp.tanh(x)
        return jax.nn.relu(checkpoint_name(jax.nn.relu(x), "relu_1"))

    sites = list(trace(model, None, X).sites)
    assert len(sites) == len(set(sites)) == 4
    assert {"relu", "relu_1"} < set(sites)


@pytest.mark.parametrize("make", [capture, lambda f, s: intervene(f, {s: jnp.sin})])
def test_an_address_that_is_not_there_shows_the_nearest(make):
    module = Block()
    with pytest.raises(AddressError) as error:
        make(module.apply, "Block/Dense_2")(weights(module, X), X)
    assert str(error.value) == (
        "No site matches 'Block/Dense_2'. The nearest of 5 addresses:\n"
        "    Block/Dense_1\n    Block/Dense_0\n    Block/relu\n    Block\n"
        "    Block/add\n"
        "`list(jaxinterp.trace(apply_fn, variables, inputs).sites)` has them all."
    )
    names = {"apply_fn": module.apply, "variables": weights(module, X), "inputs": X}
    (addresses,) = proposals(error, **names)
    assert len(addresses) == 5


def test_a_unit_is_no_site():
    with pytest.raises(AddressError) as error:
        capture(lambda v, x: jnp.tanh(x), "tanh:3")(None, X)
    assert str(error.value).endswith(
        "'tanh:3' is a unit, and a site is an address alone, 'tanh'. A unit is what is "
        "explained or maximized: `score='tanh:3'`."
    )


def test_an_address_of_several_sites_is_ambiguous_where_one_is_needed():
    module = Block()
    with pytest.raises(AmbiguousAddressError, match="matches 2") as error:
        split(module.apply, "Block/Dense_*")[0](weights(module, X), X)
    assert "Block/Dense_0\n    Block/Dense_1" in str(error.value)
    assert "such as 'Block/Dense_0'" in str(error.value)


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        (["net/a", "net/b/c", "add"], {"net/a": "a", "net/b/c": "b/c"}),
        (["preprocess/cast", "net/a", "net"], {"net/a": "a"}),
        (["net/a", "net/b", "a"], {"net/b": "b"}),
        (["net/a", "other/a"], {}),
        (["conv", "relu"], {}),
    ],
)
def test_the_name_of_the_model_may_be_left_out(addresses, expected):
    assert short_names(addresses) == expected


def test_a_bare_weight_names_the_whole_affine_map():
    w = {"w1": normal(4, 3), "b1": normal(1, 3), "w2": normal(3, 2), "b2": normal(1, 2)}

    def model(w, x):
        return jax.nn.relu(x @ w["w1"] + w["b1"]) @ w["w2"] + w["b2"]

    outputs, found = capture(model, "*")(w, X)
    assert list(found) == ["w1", "relu", "w2"]
    assert jnp.array_equal(found["w1"], X @ w["w1"] + w["b1"])
    assert jnp.array_equal(found["w2"], outputs)


def test_blocks_of_one_kernel_are_one_run_of_their_layer():
    def layer(v, x):
        w = v["layer"]["w"]
        return x[:, :2] @ w[:2] + x[:, 2:] @ w[2:] + v["layer"]["b"]

    v = {"layer": LAYER}
    x = normal(2, 4)
    assert "layer@1" not in trace(layer, v, x).sites
    twice = trace(lambda v, x: layer(v, jnp.sin(layer(v, x))), v, x)
    assert {"layer", "layer@1"} <= set(twice.sites)
    assert "layer@2" not in twice.sites
