"""Small transformers of packages that nobody here wrote, at random initialization.

A builder imports its package itself, so the table can be read without any of them.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

import jaxinterp as ji
from tests.third_party.models import IMAGES, KEY, TOKENS, Model, part

MOVIES = jax.random.normal(jax.random.key(8), (2, 3, 8, 8, 1), jnp.float32)

# --- Text -----------------------------------------------------------------------------


def penzai_llama() -> Model:
    from penzai import pz
    from penzai.models.transformer.variants import llamalike_common

    config = llamalike_common.LlamalikeTransformerConfig(
        num_kv_heads=1,
        query_head_multiplier=2,
        embedding_dim=8,
        projection_dim=4,
        mlp_hidden_dim=8,
        num_decoder_blocks=2,
        vocab_size=11,
        mlp_variant="swiglu",
        tie_embedder_and_logits=False,
    )
    model = llamalike_common.build_llamalike_transformer(config, KEY)
    unbound, variables = pz.unbind_variables(model, freeze=True)

    def apply_fn(variables: Any, tokens: Any) -> Any:
        bound = pz.bind_variables(unbound, variables)
        named = pz.nx.wrap(tokens, "batch", "seq")
        positions = pz.nx.wrap(jnp.arange(tokens.shape[1]), "seq")
        logits = bound(named, token_positions=positions)
        return logits.unwrap("batch", "seq", "vocabulary")[:, -1]

    return Model(apply_fn, variables, TOKENS)


def attnax_encoder() -> Model:
    import attnax
    from flax import nnx

    config = attnax.TransformerConfig(
        vocab_size=11, d_model=8, num_heads=2, num_layers=2, d_ff=16, max_len=8
    )
    model = attnax.TransformerEncoder(nnx.Rngs(0), config)
    model.eval()
    apply_fn, state = ji.models.from_nnx(model, deterministic=True)
    return Model(part(apply_fn, lambda hidden: hidden[:, -1]), state, TOKENS)


def nano_moe() -> Model:
    import nano_moe

    config = nano_moe.NanoMoEConfig(
        vocab_size=11, n_layers=2, n_heads=2, d_model=8, d_ff=12, n_experts=3
    )
    module = nano_moe.NanoMoE(config)
    apply_fn, variables = ji.models.from_linen(module, module.init(KEY, TOKENS))
    return Model(part(apply_fn, lambda out: out[0][:, -1]), variables, TOKENS)


def esm2() -> Model:
    import esm2quinox

    model = esm2quinox.ESM2(2, 8, 2, token_dropout=True, key=KEY)
    apply_fn, arrays = ji.models.from_equinox(model)
    proteins = jnp.asarray(esm2quinox.tokenise(["MK#LV", "SPIDER"]))
    return Model(part(apply_fn, lambda out: out.logits[:, 3]), arrays, proteins)


# --- Images and fields ----------------------------------------------------------------


def equimo_vit() -> Model:
    import equinox as eqx
    from equimo.vision.models import VisionTransformer

    model = VisionTransformer(
        img_size=32,
        in_channels=3,
        dim=8,
        patch_size=16,
        num_heads=2,
        depths=[2],
        num_classes=5,
        key=KEY,
    )
    model = eqx.nn.inference_mode(model)
    apply_fn, arrays = ji.models.from_equinox(model, key=KEY, inference=True)
    return Model(apply_fn, arrays, IMAGES.transpose(0, 3, 1, 2))


def heal_swin() -> Model:
    from flax import nnx
    from heal_swin_nnx.models.swin import SwinEncoder, SwinParams

    params = SwinParams(
        img_size=16,
        in_channels=3,
        out_channels=1,
        patch_size=2,
        embed_dim=4,
        depths=(2, 1),
        num_heads=(1, 2),
        dtype="float32",
    )
    model = SwinEncoder(params, rngs=nnx.Rngs(0))
    model.eval()
    apply_fn, state = ji.models.from_nnx(model)
    images = IMAGES[:, ::2, ::2]
    return Model(part(apply_fn, lambda out: out[0].mean(1)), state, images)


def foundax_bcat() -> Model:
    import foundax

    model = foundax.bcat.base(
        n_layer=2,
        dim_emb=8,
        dim_ffn=12,
        n_head=2,
        x_num=8,
        patch_num=2,
        patch_num_output=2,
        conv_dim=4,
        max_data_len=3,
        key=KEY,
    )
    times = jnp.zeros((2, 3, 1))
    apply_fn, arrays = ji.models.from_equinox(
        model, is_batched=True, times=times, input_len=1
    )
    return Model(part(apply_fn, lambda out: out[:, -1, 3, :3, 0]), arrays, MOVIES)


def transformer_flow() -> Model:
    import equinox as eqx
    from transformer_flows.transformer_flow import TransformerFlow

    model = TransformerFlow(
        3, 8, 4, channels=8, n_blocks=2, layers_per_block=2, head_dim=4, key=KEY
    )
    arrays, static = eqx.partition(model, eqx.is_inexact_array)

    def apply_fn(arrays: Any, images: Any) -> Any:
        flow = eqx.combine(arrays, static)
        return jax.vmap(lambda image: flow.forward(image, None)[0][2, :3])(images)

    return Model(apply_fn, arrays, IMAGES.transpose(0, 3, 1, 2)[:, :, ::4, ::4])
