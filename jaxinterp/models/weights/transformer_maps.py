"""Name maps of transformers: GPT-2, BERT, Llama and ViT, and a generator of digits.

Each map is a function of the model, because a checkpoint stores the kernels of all
heads as one matrix and only the model knows how many heads there are. Kernels of
torch's linear layers are (out, in), so their layout is `"oi->io"`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from jaxinterp.models.architectures.bert import Bert
from jaxinterp.models.architectures.llama import Llama
from jaxinterp.models.architectures.transformer import Transformer
from jaxinterp.models.architectures.vit import ViT
from jaxinterp.models.weights.name_map import Convert, Entry, NameMap
from jaxinterp.models.weights.torch_layers import convolution, dense, layer_norm

Reshape = Callable[[np.ndarray], np.ndarray]

_EMBEDDING = "params/token_embedding/embedding"

# Torch numbers activations too, so only every other number has weights.
MLP_GAN_MNIST: NameMap = (
    *dense("0", "layers_0"),
    *dense("2", "layers_1"),
    *dense("4", "layers_2"),
)


def hf_gpt2(model: Transformer) -> NameMap:
    """Returns the name map of Hugging Face's GPT-2.

    Its layers are `Conv1D`, stored as (in, out); query, key and value are one matrix.

    Args:
        model: the model whose weights are read.

    Example:
        >>> hf_gpt2(Transformer())[0].path
        'params/token_embedding/embedding'
    """
    block = r"(?:transformer\.)?h\.(\d+)\."
    ours = r"blocks_\1"
    split, merge = _split_heads(model.heads), _merge_heads(model.heads)
    return (
        Entry(r"(?:transformer\.)?wte\.weight", _EMBEDDING),
        Entry(r"(?:transformer\.)?wpe\.weight", "params/position_embedding/embedding"),
        *_fused(block + r"attn\.c_attn", split, layout=""),
        *dense(block + r"attn\.c_proj", f"{ours}/attention/out", merge, layout=""),
        *dense(block + r"mlp\.c_fc", f"{ours}/mlp/up", layout=""),
        *dense(block + r"mlp\.c_proj", f"{ours}/mlp/down", layout=""),
        *layer_norm(block + r"ln_1", f"{ours}/attention_norm"),
        *layer_norm(block + r"ln_2", f"{ours}/mlp_norm"),
        *layer_norm(r"(?:transformer\.)?ln_f", "norm"),
        # The causal mask, which older files store with the weights.
        Entry(block + r"attn\.(?:masked_)?bias", ""),
        _lm_head(model.is_tied),
    )


def hf_bert(model: Bert) -> NameMap:
    """Returns the name map of Hugging Face's BERT, with its classifier if there is one.

    The heads of pre-training (`cls.*`) are not read.

    Args:
        model: the model whose weights are read.

    Example:
        >>> hf_bert(Bert())[0].path
        'params/token_embedding/embedding'
    """
    embeddings = r"(?:bert\.)?embeddings\."
    block = r"(?:bert\.)?encoder\.layer\.(\d+)\."
    split, merge = _split_heads(model.heads), _merge_heads(model.heads)
    return (
        Entry(embeddings + r"word_embeddings\.weight", _EMBEDDING),
        Entry(
            embeddings + r"(position|token_type)_embeddings\.weight",
            r"params/\1_embedding/embedding",
        ),
        *layer_norm(embeddings + "LayerNorm", "norm"),
        *dense(
            block + r"attention\.self\.(query|key|value)",
            r"blocks_\1/attention/\2",
            split,
            split,
        ),
        *dense(block + r"attention\.output\.dense", r"blocks_\1/attention/out", merge),
        *layer_norm(
            block + r"attention\.output\.LayerNorm", r"blocks_\1/attention_norm"
        ),
        *dense(block + r"intermediate\.dense", r"blocks_\1/mlp/up"),
        *dense(block + r"output\.dense", r"blocks_\1/mlp/down"),
        *layer_norm(block + r"output\.LayerNorm", r"blocks_\1/mlp_norm"),
        *dense(r"(?:bert\.)?pooler\.dense", "pooler"),
        *dense("classifier", "head"),
        Entry(embeddings + "position_ids", ""),
        Entry(r"cls\..*", ""),
    )


def hf_llama(model: Llama) -> NameMap:
    """Returns the name map of Hugging Face's Llama.

    Its pairs of rotated features are those of `Llama`, so no kernel is reordered.

    Args:
        model: the model whose weights are read.

    Example:
        >>> hf_llama(Llama())[0].path
        'params/token_embedding/embedding'
    """
    block = r"(?:model\.)?layers\.(\d+)\."
    ours = r"params/blocks_\1"
    return (
        Entry(r"(?:model\.)?embed_tokens\.weight", _EMBEDDING),
        *_llama_attention(
            model,
            {
                "query": block + r"self_attn\.q_proj\.weight",
                "key": block + r"self_attn\.k_proj\.weight",
                "value": block + r"self_attn\.v_proj\.weight",
                "out": block + r"self_attn\.o_proj\.weight",
            },
        ),
        Entry(
            block + r"mlp\.(gate|up|down)_proj\.weight",
            rf"{ours}/mlp/\2/kernel",
            "oi->io",
        ),
        Entry(block + r"input_layernorm\.weight", f"{ours}/attention_norm/scale"),
        Entry(block + r"post_attention_layernorm\.weight", f"{ours}/mlp_norm/scale"),
        Entry(r"(?:model\.)?norm\.weight", "params/norm/scale"),
        Entry(r".*rotary_emb\.inv_freq", ""),
        _lm_head(model.is_tied),
    )


def llama2c(model: Llama) -> NameMap:
    """Returns the name map of the files of llama2.c.

    There a rotated pair is two neighboring features, here a feature of the first half
    and the corresponding one of the second; kernels of queries and keys are reordered.

    Args:
        model: the model whose weights are read.

    Example:
        >>> llama2c(Llama())[0].path
        'params/token_embedding/embedding'
    """
    block = r"layers\.(\d+)\."
    ours = r"params/blocks_\1"
    return (
        Entry("tok_embeddings", _EMBEDDING),
        *_llama_attention(
            model,
            {name: rf"{block}w{name[0]}" for name in ("query", "key", "value", "out")},
            has_neighbors=True,
        ),
        Entry(block + "w1", f"{ours}/mlp/gate/kernel", "oi->io"),
        Entry(block + "w2", f"{ours}/mlp/down/kernel", "oi->io"),
        Entry(block + "w3", f"{ours}/mlp/up/kernel", "oi->io"),
        Entry(block + "attention_norm", f"{ours}/attention_norm/scale"),
        Entry(block + "ffn_norm", f"{ours}/mlp_norm/scale"),
        Entry("norm", "params/norm/scale"),
        Entry("freq_cis_(?:real|imag)", ""),
        Entry("output", "params/lm_head/kernel", "oi->io"),
    )


def hf_vit(model: ViT) -> NameMap:
    """Returns the name map of Hugging Face's ViT for classification.

    Files on the hub have names such as `encoder.layer.0.attention.attention.query`, the
    models of transformers 5 such as `layers.0.attention.q_proj`; both are read.

    Args:
        model: the model whose weights are read, with `norm_epsilon=1e-12`.

    Example:
        >>> hf_vit(ViT())[0].path
        'params/class_token'
    """
    embeddings = r"(?:vit\.)?embeddings\."
    block = r"(?:vit\.)?(?:encoder\.layer|layers)\.(\d+)\."
    split, merge = _split_heads(model.heads), _merge_heads(model.heads)
    lines = [
        Entry(embeddings + "cls_token", "params/class_token"),
        Entry(embeddings + "position_embeddings", "params/position_embedding"),
        *convolution(embeddings + r"patch_embeddings\.projection", "patch_embedding"),
        *dense(
            block + r"attention\.(?:output\.dense|o_proj)",
            r"blocks_\1/attention/out",
            merge,
        ),
        *layer_norm(block + "layernorm_before", r"blocks_\1/attention_norm"),
        *dense(block + r"(?:intermediate\.dense|mlp\.fc1)", r"blocks_\1/mlp/up"),
        *dense(block + r"(?:output\.dense|mlp\.fc2)", r"blocks_\1/mlp/down"),
        *layer_norm(block + "layernorm_after", r"blocks_\1/mlp_norm"),
        *layer_norm(r"(?:vit\.)?layernorm", "norm"),
        *dense("classifier", "head"),
        Entry(r"(?:vit\.)?pooler\.dense\.(?:weight|bias)", ""),
    ]
    for name in ("query", "key", "value"):
        theirs = rf"attention\.(?:attention\.{name}|{name[0]}_proj)"
        ours = rf"blocks_\1/attention/{name}"
        lines += dense(block + theirs, ours, split, split)
    return tuple(lines)


def timm_vit(model: ViT) -> NameMap:
    """Returns the name map of timm's `vit_*` with a class token.

    Args:
        model: the model whose weights are read.

    Example:
        >>> timm_vit(ViT())[0].path
        'params/class_token'
    """
    block = r"blocks\.(\d+)\."
    split, merge = _split_heads(model.heads), _merge_heads(model.heads)
    return (
        Entry("cls_token", "params/class_token"),
        Entry("pos_embed", "params/position_embedding"),
        *convolution(r"patch_embed\.proj", "patch_embedding"),
        *_fused(block + r"attn\.qkv", split),
        *dense(block + r"attn\.proj", r"blocks_\1/attention/out", merge),
        *layer_norm(block + "norm1", r"blocks_\1/attention_norm"),
        *layer_norm(block + "norm2", r"blocks_\1/mlp_norm"),
        *dense(block + r"mlp\.fc1", r"blocks_\1/mlp/up"),
        *dense(block + r"mlp\.fc2", r"blocks_\1/mlp/down"),
        *layer_norm("norm", "norm"),
        *dense("head", "head"),
    )


# --- Lines that several maps share ----------------------------------------------------


def _fused(pattern: str, split_heads: Reshape, layout: str = "oi->io") -> NameMap:
    """Returns the lines of a linear layer for queries, keys and values together."""
    path = r"params/blocks_\1/attention"
    return (
        Entry(rf"{pattern}\.weight", path, layout, _cut(split_heads, "kernel")),
        Entry(rf"{pattern}\.bias", path, "", _cut(split_heads, "bias")),
    )


def _lm_head(is_tied: bool) -> Entry:
    """Returns the line of the unembedding; if it is tied, files may have a copy."""
    if is_tied:
        return Entry(r"lm_head\.weight", _EMBEDDING, is_copy=True)
    return Entry(r"lm_head\.weight", "params/lm_head/kernel", "oi->io")


def _llama_attention(
    model: Llama, patterns: Mapping[str, str], has_neighbors: bool = False
) -> NameMap:
    """Returns the lines of the four kernels of Llama's attention."""
    converts = {
        "query": _split_heads(model.heads, has_neighbors),
        "key": _split_heads(model.key_heads, has_neighbors),
        "value": _split_heads(model.key_heads),
        "out": _merge_heads(model.heads),
    }
    return tuple(
        Entry(
            pattern,
            rf"params/blocks_\1/attention/{name}/kernel",
            "oi->io",
            converts[name],
        )
        for name, pattern in patterns.items()
    )


# --- Arrays by head -------------------------------------------------------------------
# An array that the heads do not divide is left as it is, and `fill` reports its shape.


def _split_heads(heads: int, has_neighbors: bool = False) -> Reshape:
    """Returns a function that splits the last axis of an array into heads."""

    def convert(array: np.ndarray) -> np.ndarray:
        rows, width = array.shape[:-1], array.shape[-1]
        if width % (2 * heads if has_neighbors else heads):
            return array
        if has_neighbors:  # feature 2 j + s of a head becomes s * d / 2 + j
            array = array.reshape(*rows, heads, -1, 2).swapaxes(-1, -2)
        return array.reshape(*rows, heads, width // heads)

    return convert


def _merge_heads(heads: int) -> Reshape:
    """Returns a function that splits the first axis of an output kernel into heads."""

    def convert(array: np.ndarray) -> np.ndarray:
        if array.shape[0] % heads:
            return array
        return array.reshape(heads, -1, array.shape[-1])

    return convert


def _cut(split_heads: Reshape, leaf: str) -> Convert:
    """Returns a function that splits an array into queries, keys and values."""

    def convert(array: np.ndarray) -> Mapping[str, np.ndarray]:
        parts = np.array_split(array, 3, axis=-1)
        return {
            f"{name}/{leaf}": split_heads(part)
            for name, part in zip(("query", "key", "value"), parts, strict=True)
        }

    return convert
