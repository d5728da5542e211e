"""What comes of reading, editing and explaining each model of another package."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from tests.third_party import models, transformers
from tests.third_party.models import Model


@dataclasses.dataclass(frozen=True)
class Peer:
    """A model of another package, and what comes of explaining it.

    Attributes:
        package: its name on the package index.
        kind: what it works on.
        name: what the model is called.
        build: makes it.
        edit: a site, and a pattern of the weights without which it would be zero.
        at: the site that is explained; the inputs by default.
        dtype: the precision that it runs in.
        refusal: the operation that the error of every preset names, if there is one.
        fault: why the ledger does not close yet, where it has to.
    """

    package: str
    kind: str
    name: str
    build: Callable[[], Model]
    edit: tuple[str, str]
    at: str | None = None
    dtype: str = "float64"
    refusal: str = ""
    fault: str = ""


PEERS = (
    Peer(
        *("keras", "image", "convolutions, MultiHeadAttention", models.keras_network),
        edit=("multi_head_attention/value", r"'trainable'.\[1[34]\]"),
    ),
    Peer(
        *("dm-haiku", "image", "ResNet", models.haiku_resnet),
        edit=("res_net/block_group_1/block_0/batchnorm_1", "group_1/.*batchnorm_1"),
    ),
    Peer(
        *("equimo", "image", "VisionTransformer", transformers.equimo_vit),
        edit=("*/blocks/0/blocks/0/mlp/fc2", r"blocks\[0\].mlp.fc2"),
    ),
    Peer(
        *("heal-swin-nnx", "image", "Swin V2 encoder", transformers.heal_swin),
        edit=("*/layers/0/blocks/0/mlp/fc2", r"\[0\].*'blocks'.*\[0\].*'fc2'"),
    ),
    Peer(
        *("penzai", "text", "llama-like transformer", transformers.penzai_llama),
        edit=("1/0/1/0", r"^\[2\]"),
        at="0",
    ),
    Peer(
        *("attnax", "text", "TransformerEncoder", transformers.attnax_encoder),
        edit=("*/layers/0/ffn/dense2", r"\[0\].*'dense2'"),
        at="TransformerEncoder/token_embed/embed",
    ),
    Peer(
        *("nano-moe-jax", "text", "mixture of experts", transformers.nano_moe),
        edit=("*/block_0/MultiHeadAttention_0/Dense_1", "block_0'.*Attention_0'.*_1'"),
    ),
    Peer(
        *("esm2quinox", "text", "ESM2, scanned", transformers.esm2),
        edit=("ESM2/eqx.nn.MultiheadAttention", "attn.output_proj"),
    ),
    Peer(
        *("mamba2-jax", "text", "Mamba2ForCausalLM", models.mamba2),
        edit=("*/layers/0/mixer/*/out_proj", r"\[0\].*'out_proj'"),
        at="Mamba2ForCausalLM/mamba2_causal_lm/backbone/mamba2_backbone/embedder",
    ),
    Peer(
        *("jraph", "graph", "GAT, GraphConvolution", models.jraph_gat),
        edit=("update", "update"),
    ),
    Peer(
        *("jraphx", "graph", "GAT", models.jraphx_gat),
        edit=("GAT/convs/0/lin", r"\[0\].*'lin'"),
    ),
    Peer(
        *("e3nn-jax", "points", "Linear, gate, tensor_product", models.e3nn_network),
        edit=("Invariants/Linear_2", "Linear_2"),
    ),
    Peer(
        *("e3x", "points", "MessagePass", models.e3x_network),
        edit=("*/MessagePass_0/filter/0+", r"filter.*0\+"),
        refusal="div",
    ),
    Peer(
        *("distrax", "flow", "MaskedCoupling", models.distrax_realnvp),
        edit=("sequential/linear", "'linear'"),
    ),
    Peer(
        *("flowjax", "flow", "masked_autoregressive_flow", models.flowjax_maf),
        edit=("*/eqx.nn.Linear", r"layers\[0\].(weight|bias)"),
    ),
    Peer(
        *(
            "transformer-flows",
            "flow",
            "TARFlow, scanned",
            transformers.transformer_flow,
        ),
        edit=("blocks/proj_out", "proj_out"),
    ),
    Peer(
        *("numpyro", "flow", "AutoregressiveNN", models.numpyro_autoregressive),
        edit=("dense", r"^\[0\]"),
    ),
    Peer(
        *("pdequinox", "operator", "ClassicUNet", models.pdequinox_unet),
        edit=("ClassicUNet/down_sampling_blocks/1", r"down_sampling_blocks\[1\]"),
    ),
    Peer(
        *("pdequinox", "operator", "ClassicFNO", models.pdequinox_fno),
        edit=("*/blocks/0/by_pass_conv", r"blocks\[0\].by_pass_conv"),
    ),
    Peer(
        *("foundax", "operator", "block causal transformer", transformers.foundax_bcat),
        edit=("*/layers/0/ffn", r"layers\[0\].ffn.fc2"),
    ),
    Peer(
        *("norax", "operator", "FNO", models.norax_fno),
        edit=("*/fourier_layers/0/linear", r"fourier_layers\[0\].linear"),
    ),
    Peer(
        *("dm-haiku", "recurrent", "LSTM", models.haiku_lstm),
        edit=("linear", "'linear'"),
    ),
    Peer(
        *("ion-nn", "recurrent", "GRU", models.ion_gru),
        edit=("cell/w_h", "cell.(w_h|b_h)"),
    ),
    Peer(
        *("discretax", "recurrent", "S5", models.discretax_s5),
        edit=("S5/blocks/0/channel_mixer/w1", r"blocks\[0\].channel_mixer.w1"),
    ),
    Peer(
        *("diffrax", "recurrent", "neural ODE", models.diffrax_ode),
        edit=("*/eqx.nn.Linear", r"layers\[0\]"),
        refusal="vprim",
    ),
    Peer(
        *("inox", "sequence", "MultiheadAttention", models.inox_attention),
        edit=("*lin_v*", "lin_v"),
    ),
    Peer(
        *("jaxpike", "spiking", "LIF", models.jaxpike_spiking),
        edit=("layers/0", r"layers\[0\]"),
        dtype="float32",
    ),
    Peer(
        *("jaxkan", "table", "KAN", models.jaxkan_kan),
        edit=("KAN/layers/0/dense", r"\[0\].*'c_basis'"),
    ),
    Peer(
        *("connex", "table", "MLP", models.connex_mlp),
        edit=("MLP/gelu", r"(weights|biases)\[0\]"),
    ),
    Peer(
        *("aqtp", "quantized", "AqtDotGeneral", models.aqt_mlp),
        edit=("MLP/relu", "Dense_0"),
        dtype="float32",
        refusal="stop_gradient",
    ),
    Peer(
        *("qwix", "quantized", "QtProvider", models.qwix_mlp),
        edit=("Sequential/relu", "layers_0"),
        refusal="round",
    ),
)


def table() -> str:
    """Returns the table of the documentation: every model, and what comes of it."""
    rows = [
        f"| {peer.kind} | `{peer.package}` | {peer.name} | {_outcome(peer)} |"
        for peer in sorted(PEERS, key=lambda peer: peer.kind)
    ]
    head = ["| works on | package | model | relevance |", "|---|---|---|---|"]
    return "\n".join([*head, *rows])


def _outcome(peer: Peer) -> str:
    if peer.refusal:
        return f"an error names `{peer.refusal}`"
    if peer.fault:
        return f"not yet: {peer.fault}"
    return "the ledger closes"
