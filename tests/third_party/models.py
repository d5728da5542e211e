"""Small models of packages that nobody here wrote, at random initialization.

A builder imports its package itself, so the table can be read without any of them.
Transformers are in `transformers.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import jaxinterp as ji

KEY = jax.random.key(0)
KEYS = jax.random.split(jax.random.key(1), 4)
IMAGES = jax.random.uniform(jax.random.key(2), (2, 32, 32, 3), jnp.float32)
FIELDS = jax.random.normal(jax.random.key(3), (2, 2, 16), jnp.float32)
SEQUENCES = jax.random.normal(jax.random.key(4), (2, 6, 3), jnp.float32)
TOKENS = jax.random.randint(jax.random.key(5), (2, 6), 0, 11)
POINTS = jax.random.normal(jax.random.key(6), (2, 4), jnp.float32)
GRAPHS = jax.random.normal(jax.random.key(7), (2, 5, 3), jnp.float32)
SENDERS = jnp.array([0, 1, 2, 3, 4, 0, 2])
RECEIVERS = jnp.array([1, 2, 3, 4, 0, 2, 0])


class Model(NamedTuple):
    """A model of another package, ready to be explained.

    Attributes:
        apply_fn: the model, which returns scores of shape `(batch, classes)`.
        variables: its random weights.
        inputs: a batch of two.
    """

    apply_fn: Callable[..., Any]
    variables: Any
    inputs: Any


def part(apply_fn: Callable[..., Any], pick: Callable[[Any], Any]) -> Callable:
    """Returns the model whose outputs are a part of another one's outputs."""
    return lambda variables, inputs: pick(apply_fn(variables, inputs))


# --- Images ---------------------------------------------------------------------------


def keras_network() -> Model:
    import keras
    from keras import layers

    images = keras.Input((32, 32, 3))
    hidden = layers.Conv2D(4, 4, strides=4, padding="same")(images)
    hidden = layers.ReLU()(layers.BatchNormalization()(hidden))
    hidden = hidden + layers.SeparableConv2D(4, 3, padding="same")(hidden)
    hidden = layers.MaxPooling2D()(layers.Activation("silu")(hidden))
    tokens = layers.LayerNormalization()(layers.Reshape((16, 4))(hidden))
    tokens = tokens + layers.MultiHeadAttention(2, 2)(tokens, tokens)
    scores = layers.Dense(5)(layers.GlobalAveragePooling1D()(tokens))
    return Model(*ji.models.from_keras(keras.Model(images, scores)), IMAGES)


def haiku_resnet() -> Model:
    import haiku as hk

    def forward(images: Any, is_training: bool) -> Any:
        net = hk.nets.ResNet(
            (1, 1, 1, 1),
            5,
            bottleneck=False,
            channels_per_group=(4, 8, 8, 8),
            logits_config={"w_init": hk.initializers.VarianceScaling()},
        )
        return net(images, is_training)

    network = hk.without_apply_rng(hk.transform_with_state(forward))
    params, state = network.init(KEY, IMAGES, is_training=True)

    def apply_fn(variables: Any, images: Any) -> Any:
        params, state = variables["params"], variables["state"]
        return network.apply(params, state, images, is_training=False)[0]

    return Model(apply_fn, {"params": params, "state": state}, IMAGES)


def pdequinox_unet() -> Model:
    import pdequinox

    model = pdequinox.arch.ClassicUNet(
        1, 2, 3, hidden_channels=4, num_levels=2, key=KEY
    )
    apply_fn, arrays = ji.models.from_equinox(model)
    return Model(part(apply_fn, lambda fields: fields[..., 3]), arrays, FIELDS)


# --- Text -----------------------------------------------------------------------------


def mamba2() -> Model:
    import mamba2_jax
    from flax import nnx

    config = mamba2_jax.Mamba2Config(
        vocab_size=11,
        hidden_size=8,
        state_size=4,
        head_dim=4,
        chunk_size=4,
        num_hidden_layers=2,
    )
    model = mamba2_jax.Mamba2ForCausalLM(config, rngs=nnx.Rngs(0))
    apply_fn, state = ji.models.from_nnx(model)
    return Model(part(apply_fn, lambda out: out["logits"][:, -1]), state, TOKENS)


# --- Graphs and points ----------------------------------------------------------------


def jraph_gat() -> Model:
    import haiku as hk
    import jraph

    def forward(nodes: Any) -> Any:
        graph = jraph.GraphsTuple(
            nodes=nodes,
            edges=None,
            senders=SENDERS,
            receivers=RECEIVERS,
            n_node=jnp.array([5]),
            n_edge=jnp.array([7]),
            globals=None,
        )
        attention = jraph.GAT(
            hk.Linear(4, name="query"),
            lambda sent, received, _: jax.nn.leaky_relu(
                hk.Linear(1, name="logit")(jnp.concatenate([sent, received], axis=1))
            ),
            lambda nodes: jax.nn.relu(hk.Linear(4, name="update")(nodes)),
        )
        convolution = jraph.GraphConvolution(hk.Linear(3, name="out"))
        return convolution(attention(graph)).nodes.mean(0)

    network = hk.without_apply_rng(hk.transform(forward))
    params = network.init(KEY, GRAPHS[0])
    apply_fn = jax.vmap(network.apply, in_axes=(None, 0))
    return Model(apply_fn, params, GRAPHS)


def jraphx_gat() -> Model:
    import jraphx
    from flax import nnx

    model = jraphx.nn.models.GAT(3, 4, 2, 3, heads=2, rngs=nnx.Rngs(0))
    model.eval()
    one, state = ji.models.from_nnx(model, edge_index=jnp.stack([SENDERS, RECEIVERS]))
    apply_fn = jax.vmap(part(one, lambda nodes: nodes.mean(0)), in_axes=(None, 0))
    return Model(apply_fn, state, GRAPHS)


def e3nn_network() -> Model:
    import e3nn_jax as e3nn
    import flax.linen as nn

    class Invariants(nn.Module):
        @nn.compact
        def __call__(self, vectors: Any) -> Any:
            inputs = e3nn.IrrepsArray("1o", vectors)
            harmonics = e3nn.spherical_harmonics("0e + 1o + 2e", inputs, True)
            hidden = e3nn.flax.Linear("4x0e + 4x1o")(harmonics)
            hidden = e3nn.gate(e3nn.flax.Linear("4x0e + 2x0e + 2x1o")(hidden))
            products = e3nn.tensor_product(hidden, hidden).filter("0e")
            return e3nn.flax.Linear("3x0e")(products).array

    vectors = GRAPHS[:, 0]
    module = Invariants()
    return Model(*ji.models.from_linen(module, module.init(KEY, vectors)), vectors)


def e3x_network() -> Model:
    import e3x
    import flax.linen as nn

    class Energies(nn.Module):
        @nn.compact
        def __call__(self, positions: Any) -> Any:
            basis = e3x.nn.basis(
                positions[SENDERS] - positions[RECEIVERS],
                num=4,
                max_degree=1,
                radial_fn=e3x.nn.reciprocal_bernstein,
            )
            atoms = jnp.ones((5, 1, 1, 4), positions.dtype)
            atoms = e3x.nn.MessagePass()(
                atoms, basis, dst_idx=RECEIVERS, src_idx=SENDERS, num_segments=5
            )
            atoms = e3x.nn.silu(e3x.nn.Dense(4)(atoms))
            return nn.Dense(3)(atoms[:, 0, 0].sum(0))

    module = Energies()
    one, variables = ji.models.from_linen(module, module.init(KEY, GRAPHS[0]))
    return Model(jax.vmap(one, in_axes=(None, 0)), variables, GRAPHS)


# --- Densities ------------------------------------------------------------------------


def distrax_realnvp() -> Model:
    import distrax
    import haiku as hk

    def conditioner() -> Any:
        head = hk.Linear(8, w_init=hk.initializers.RandomNormal(0.1))
        return hk.Sequential([hk.nets.MLP([8]), jnp.tanh, head, hk.Reshape((4, 2))])

    def forward(points: Any) -> Any:
        layers = [
            distrax.MaskedCoupling(
                mask=jnp.arange(4) % 2 == parity,
                bijector=lambda params: distrax.ScalarAffine(
                    params[..., 0], log_scale=params[..., 1]
                ),
                conditioner=conditioner(),
            )
            for parity in (0, 1)
        ]
        base = distrax.MultivariateNormalDiag(jnp.zeros(4), jnp.ones(4))
        flow = distrax.Transformed(base, distrax.Chain(layers))
        return flow.log_prob(points)[:, None]

    network = hk.without_apply_rng(hk.transform(forward))
    return Model(network.apply, network.init(KEY, POINTS), POINTS)


def flowjax_maf() -> Model:
    import equinox as eqx
    from flowjax.distributions import Normal
    from flowjax.flows import masked_autoregressive_flow

    flow = masked_autoregressive_flow(
        KEY, base_dist=Normal(jnp.zeros(4)), flow_layers=2, nn_width=8
    )
    arrays, static = eqx.partition(flow, eqx.is_inexact_array)

    def apply_fn(arrays: Any, points: Any) -> Any:
        return eqx.combine(arrays, static).log_prob(points)[:, None]

    return Model(apply_fn, arrays, POINTS)


def numpyro_autoregressive() -> Model:
    from numpyro.nn import AutoregressiveNN

    init, apply = AutoregressiveNN(4, [8])
    _, params = init(KEY, (4,))
    return Model(lambda p, points: apply(p, points)[0][:, 1:], params, POINTS)


# --- Operators ------------------------------------------------------------------------


def pdequinox_fno() -> Model:
    import pdequinox

    model = pdequinox.arch.ClassicFNO(
        1, 2, 3, hidden_channels=4, num_modes=4, num_blocks=2, key=KEY
    )
    apply_fn, arrays = ji.models.from_equinox(model)
    return Model(part(apply_fn, lambda fields: fields[..., 3]), arrays, FIELDS)


def norax_fno() -> Model:
    from norax.models import FNO

    model = FNO(KEY, 2, 3, n_modes=(4,), width=4, depth=2)
    apply_fn, arrays = ji.models.from_equinox(model)
    fields = FIELDS.transpose(0, 2, 1)
    return Model(part(apply_fn, lambda out: out[:, 3]), arrays, fields)


# --- Sequences ------------------------------------------------------------------------


def haiku_lstm() -> Model:
    import haiku as hk

    def forward(sequences: Any) -> Any:
        core = hk.LSTM(4)
        state = core.initial_state(sequences.shape[0])
        hidden, _ = hk.dynamic_unroll(core, sequences, state, time_major=False)
        return hk.Linear(3)(hidden[:, -1])

    network = hk.without_apply_rng(hk.transform(forward))
    return Model(network.apply, network.init(KEY, SEQUENCES), SEQUENCES)


def ion_gru() -> Model:
    from ion import nn

    model = nn.GRU(3, 4, key=KEY)
    return Model(lambda model, inputs: model(inputs)[0][:, -1], model, SEQUENCES)


def discretax_s5() -> Model:
    import equinox as eqx
    from discretax.models import S5

    model, state = eqx.nn.make_with_state(S5)(
        KEY, hidden_dim=3, num_blocks=2, state_dim=4, drop_rate=0.0
    )
    model = eqx.nn.inference_mode(model)
    apply_fn, arrays = ji.models.from_equinox(model, state=state, key=KEY)
    return Model(part(apply_fn, lambda out: out[0][:, -1]), arrays, SEQUENCES)


def inox_attention() -> Model:
    import inox.nn as nn

    model = nn.Module(
        attention=nn.MultiheadAttention(3, heads=3, key=KEYS[0]),
        norm=nn.LayerNorm(),
        head=nn.Linear(3, 3, key=KEYS[1]),
    )
    static, params, others = model.partition(nn.Parameter)

    def apply_fn(params: Any, sequences: Any) -> Any:
        model = static(params, others)
        return model.head(model.norm(sequences + model.attention(sequences)))[:, -1]

    return Model(apply_fn, params, SEQUENCES)


def diffrax_ode() -> Model:
    import diffrax
    import equinox as eqx

    field = eqx.nn.MLP(4, 4, 8, 1, activation=jnp.tanh, key=KEY)
    arrays, static = eqx.partition(field, eqx.is_array)

    def apply_fn(arrays: Any, points: Any) -> Any:
        def end(point: Any) -> Any:
            solution = diffrax.diffeqsolve(
                diffrax.ODETerm(lambda t, y, field: eqx.combine(field, static)(y)),
                diffrax.Heun(),
                t0=0.0,
                t1=1.0,
                dt0=0.25,
                y0=point,
                args=arrays,
            )
            return solution.ys[-1]

        return jax.vmap(end)(points)

    return Model(apply_fn, arrays, POINTS)


def jaxpike_spiking() -> Model:
    import jaxpike

    network = jaxpike.Sequential(
        jaxpike.Dense(3, 16, key=KEYS[0]),
        jaxpike.LIF(tau=2.0, threshold=0.1),
        jaxpike.Dense(16, 3, key=KEYS[1]),
        jaxpike.LIF(tau=2.0, threshold=0.1),
    )

    def apply_fn(network: Any, sequences: Any) -> Any:
        spikes, _ = jaxpike.unroll(network, sequences.swapaxes(0, 1))
        return spikes.mean(0)

    return Model(apply_fn, network, SEQUENCES)


# --- Tables and numbers of few bits ---------------------------------------------------


def jaxkan_kan() -> Model:
    from jaxkan.models.KAN import KAN

    model = KAN([4, 3, 2], "base", {"k": 3, "G": 3})
    return Model(*ji.models.from_nnx(model), POINTS)


def connex_mlp() -> Model:
    import connex

    model = connex.nn.MLP(4, 2, width=6, depth=2, key=KEY)
    return Model(*ji.models.from_equinox(model), POINTS)


def aqt_mlp() -> Model:
    import flax.linen as nn
    from aqt.jax.v2 import config
    from aqt.jax.v2.flax import aqt_flax

    class MLP(nn.Module):
        @nn.compact
        def __call__(self, points: Any) -> Any:
            for width in (8, 3):
                dot = aqt_flax.AqtDotGeneral(config.config_v4(), prng_name=None)
                layer = nn.Dense(width, dot_general=dot)
                points = layer(points if width == 8 else nn.relu(points))
            return points

    module = MLP()
    return Model(*ji.models.from_linen(module, module.init(KEY, POINTS)), POINTS)


def qwix_mlp() -> Model:
    import flax.linen as nn
    import qwix

    module = nn.Sequential([nn.Dense(8), nn.relu, nn.Dense(3)])
    rule = qwix.QuantizationRule(weight_qtype=jnp.int8, act_qtype=jnp.int8)
    quantized = qwix.quantize_model(module, qwix.QtProvider([rule]))
    variables = quantized.init(KEY, POINTS)
    return Model(*ji.models.from_linen(quantized, variables), POINTS)
