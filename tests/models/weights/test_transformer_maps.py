"""Name maps of transformers: the logits are those of the library that made the file.

Marked `peers`: models of `transformers` with random weights. Marked `real_data`: a tiny
Llama that tells stories, and a generator of digits.
"""

import itertools
import re
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from jaxinterp.models.architectures.bert import Bert
from jaxinterp.models.architectures.llama import Llama
from jaxinterp.models.architectures.mlp import MLPGenerator
from jaxinterp.models.architectures.transformer import Transformer
from jaxinterp.models.architectures.vit import ViT
from jaxinterp.models.weights import WeightsError, fill, transformer_maps

TOKENS = np.array([[3, 1, 4, 1, 5, 9], [2, 6, 5, 3, 5, 8]])
IMAGES = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)

# The sizes of small models, as most configurations of transformers call them.
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 20,
}


def filled(model, inputs, tensors, name_map):
    template = jax.eval_shape(model.init, jax.random.key(0), inputs)
    return fill(template, tensors, name_map, source="test")


# --- Against transformers -------------------------------------------------------------


def perturbed(model):
    """Returns the tensors of a model of torch, after making its biases random too."""
    import torch

    with torch.no_grad():
        for parameter in model.eval().parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return {key: value.numpy() for key, value in model.state_dict().items()}


@pytest.fixture(params=["file", "memory"])
def peer(request, tmp_path):
    """Makes a model of `transformers` and its tensors, as saved or as they are."""

    def make(name, config, **sizes):
        torch = pytest.importorskip("torch", reason="peers need torch")
        library = pytest.importorskip("transformers", reason="peers need transformers")
        torch.manual_seed(0)
        settings = getattr(library, config)(**sizes)
        settings._attn_implementation = "eager"
        model = getattr(library, name)(settings)
        tensors = perturbed(model)
        if request.param == "file":
            model.save_pretrained(tmp_path)
            tensors = load_file(tmp_path / "model.safetensors")
        return model, tensors

    return make


def logits_of(model, *inputs, **named):
    import torch

    with torch.no_grad():
        return model(*map(torch.tensor, inputs), **named).logits.numpy()


def assert_same(ours, theirs):
    assert np.abs(theirs).max() > 0.1
    np.testing.assert_allclose(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.peers
@pytest.mark.parametrize("is_tied", [True, False])
def test_gpt2_has_the_logits_of_transformers(peer, is_tied):
    theirs, tensors = peer(
        "GPT2LMHeadModel",
        "GPT2Config",
        vocab_size=13,
        n_positions=8,
        n_embd=12,
        n_layer=2,
        n_head=3,
        tie_word_embeddings=is_tied,
    )
    model = Transformer(13, 12, 2, 3, max_length=8, is_tied=is_tied)
    variables = filled(
        model, jnp.asarray(TOKENS), tensors, transformer_maps.hf_gpt2(model)
    )
    assert_same(model.apply(variables, jnp.asarray(TOKENS)), logits_of(theirs, TOKENS))


@pytest.mark.peers
def test_bert_has_the_logits_of_transformers(peer):
    theirs, tensors = peer(
        "BertForSequenceClassification",
        "BertConfig",
        **SIZES,
        vocab_size=13,
        max_position_embeddings=8,
        num_labels=4,
    )
    import torch

    model = Bert(4, 13, 16, 2, 4, mlp_width=20, max_length=8)
    tokens = TOKENS.copy()
    tokens[1, 4:] = 0
    types = np.zeros_like(tokens)
    types[:, 3:] = 1
    variables = filled(
        model, jnp.asarray(tokens), tensors, transformer_maps.hf_bert(model)
    )
    expected = logits_of(
        theirs,
        tokens,
        attention_mask=torch.tensor((tokens != 0).astype(int)),
        token_type_ids=torch.tensor(types),
    )
    ours = model.apply(variables, jnp.asarray(tokens), jnp.asarray(types))
    assert_same(ours, expected)


@pytest.mark.peers
@pytest.mark.parametrize(("key_heads", "is_tied"), [(4, False), (2, False), (1, True)])
def test_llama_has_the_logits_of_transformers(peer, key_heads, is_tied):
    theirs, tensors = peer(
        "LlamaForCausalLM",
        "LlamaConfig",
        **SIZES,
        vocab_size=13,
        num_key_value_heads=key_heads,
        max_position_embeddings=16,
        rms_norm_eps=1e-5,
        tie_word_embeddings=is_tied,
    )
    model = Llama(13, 16, 2, 4, key_heads, mlp_width=20, is_tied=is_tied)
    variables = filled(
        model, jnp.asarray(TOKENS), tensors, transformer_maps.hf_llama(model)
    )
    assert_same(model.apply(variables, jnp.asarray(TOKENS)), logits_of(theirs, TOKENS))


@pytest.mark.peers
def test_vit_has_the_logits_of_transformers(peer):
    theirs, tensors = peer(
        "ViTForImageClassification",
        "ViTConfig",
        **SIZES,
        image_size=8,
        patch_size=4,
        num_labels=5,
    )
    model = ViT(8, 4, 16, 2, 4, mlp_width=20, classes=5, norm_epsilon=1e-12)
    variables = filled(
        model, jnp.asarray(IMAGES), tensors, transformer_maps.hf_vit(model)
    )
    expected = logits_of(theirs, IMAGES.transpose(0, 3, 1, 2))
    assert_same(model.apply(variables, jnp.asarray(IMAGES)), expected)


@pytest.mark.peers
def test_vit_has_the_logits_of_timm():
    torch = pytest.importorskip("torch", reason="peers need torch")
    library = pytest.importorskip("timm.models.vision_transformer")
    torch.manual_seed(0)
    theirs = library.VisionTransformer(
        8, 4, num_classes=5, embed_dim=12, depth=2, num_heads=3, mlp_ratio=2
    )
    tensors = perturbed(theirs)
    model = ViT(8, 4, 12, 2, 3, mlp_width=24, classes=5)
    variables = filled(
        model, jnp.asarray(IMAGES), tensors, transformer_maps.timm_vit(model)
    )
    with torch.no_grad():
        expected = theirs(torch.tensor(IMAGES.transpose(0, 3, 1, 2))).numpy()
    assert_same(model.apply(variables, jnp.asarray(IMAGES)), expected)


# --- Files made here ------------------------------------------------------------------


def llama2c_tensors(rng, width=8, depth=1, key_heads=1, mlp_width=6, vocabulary=5):
    """Random tensors under llama2.c's names; two query heads."""
    shapes = {"tok_embeddings": (vocabulary, width), "norm": (width,)}
    for i in range(depth):
        narrow = width // 2 * key_heads
        shapes |= {
            f"layers.{i}.{name}": shape
            for name, shape in {
                "attention_norm": (width,),
                "ffn_norm": (width,),
                "wq": (width, width),
                "wk": (narrow, width),
                "wv": (narrow, width),
                "wo": (width, width),
                "w1": (mlp_width, width),
                "w2": (width, mlp_width),
                "w3": (mlp_width, width),
            }.items()
        }
    return {k: rng.normal(size=s).astype(np.float32) for k, s in shapes.items()}


def test_a_tiny_llama2c_model_equals_numpy():
    tensors = llama2c_tensors(np.random.default_rng(0), depth=2)
    model = Llama(5, 8, 2, 2, key_heads=1, mlp_width=6, is_tied=True)
    tokens = jnp.array([[1, 4, 2, 2]])
    variables = filled(model, tokens, tensors, transformer_maps.llama2c(model))
    expected = numpy_llama2c(tensors, [1, 4, 2, 2], heads=2, key_heads=1)
    ours = model.apply(variables, tokens)[0]
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)


def test_what_a_map_needs_not_is_passed_over_and_all_else_is_an_error():
    tensors = llama2c_tensors(np.random.default_rng(0))
    model = Llama(5, 8, 1, 2, key_heads=1, mlp_width=6, is_tied=True)
    tokens, name_map = jnp.array([[1, 4]]), transformer_maps.llama2c(model)
    extra = {"freq_cis_real": np.zeros((4, 2)), "freq_cis_imag": np.zeros((4, 2))}
    filled(model, tokens, tensors | extra, name_map)
    with pytest.raises(WeightsError, match="output -> params/lm_head/kernel"):
        filled(model, tokens, tensors | {"output": np.zeros((5, 8))}, name_map)
    with pytest.raises(WeightsError, match=r"layers\.0\.w4"):
        filled(model, tokens, tensors | {"layers.0.w4": np.zeros(2)}, name_map)


def test_heads_that_divide_nothing_are_a_wrong_shape_and_no_crash():
    tensors = llama2c_tensors(np.random.default_rng(0))
    model = Llama(5, 8, 1, 2, key_heads=1, mlp_width=6, is_tied=True)
    tensors["layers.0.wq"] = np.zeros((7, 8), np.float32)
    tensors["layers.0.wo"] = np.zeros((8, 7), np.float32)
    with pytest.raises(WeightsError) as error:
        filled(model, jnp.array([[1, 4]]), tensors, transformer_maps.llama2c(model))
    for line in ("wq .*found (8, 7), needed (8, 2, 4)", "wo .*found (7, 8), needed (2"):
        name, _, shapes = line.partition(" .*")
        assert name in str(error.value)
        assert shapes in str(error.value)


def test_older_names_of_bert_and_gpt2_are_known():
    bert, gpt2 = Bert(depth=1), Transformer(depth=1)
    known = {
        "bert.embeddings.LayerNorm.gamma": transformer_maps.hf_bert(bert),
        "embeddings.LayerNorm.beta": transformer_maps.hf_bert(bert),
        "cls.predictions.bias": transformer_maps.hf_bert(bert),
        "wte.weight": transformer_maps.hf_gpt2(gpt2),
        "h.0.attn.bias": transformer_maps.hf_gpt2(gpt2),
        "h.0.attn.masked_bias": transformer_maps.hf_gpt2(gpt2),
    }
    for name, name_map in known.items():
        assert any(re.fullmatch(entry.pattern, name) for entry in name_map), name


@pytest.mark.parametrize(
    ("model", "name_map", "embedding"),
    [
        (Transformer(5, 4, 1, 2, max_length=6), transformer_maps.hf_gpt2, "wte.weight"),
        (
            Llama(5, 4, 1, 2, 2, is_tied=True),
            transformer_maps.hf_llama,
            "model.embed_tokens.weight",
        ),
    ],
)
def test_an_unembedding_that_is_not_the_embedding_is_an_error_if_they_are_tied(
    model, name_map, embedding
):
    def message_for(unembedding):
        tensors = {embedding: np.eye(5, 4), "lm_head.weight": unembedding}
        with pytest.raises(WeightsError) as error:  # all other tensors are missing
            filled(model, jnp.array([[1, 4]]), tensors, name_map(model))
        return str(error.value)

    wrong = f"{embedding} and lm_head.weight -> params/token_embedding/embedding"
    assert wrong not in message_for(np.eye(5, 4))
    assert wrong in message_for(2 * np.eye(5, 4))
    assert "`is_tied=False`" in message_for(2 * np.eye(5, 4))
    assert "found (7, 3), needed (5, 4)" in message_for(np.eye(7, 3))
    untied = name_map(model.clone(is_tied=False))
    assert "params/lm_head/kernel" in {entry.path for entry in untied}


# --- A tiny Llama that tells stories --------------------------------------------------

STORIES = Llama(512, 64, 5, 8, key_heads=4, mlp_width=172, is_tied=True)
BEGIN = 1


def read_stories(path):
    """Reads llama2.c's first format: a header, then one tensor a kind, layers first."""
    data = path.read_bytes()
    width, mlp_width, depth, heads, key_heads, vocabulary, length = struct.unpack(
        "7i", data[:28]
    )
    values = np.frombuffer(data, np.float32, offset=28)
    narrow = width // heads * key_heads
    tensors, start = {}, 0

    def take(name, *shape):
        nonlocal start
        size = int(np.prod(shape))
        tensors[name] = values[start : start + size].reshape(shape)
        start += size

    take("tok_embeddings", vocabulary, width)
    for name, *shape in (
        ("attention_norm", width),
        ("wq", width, width),
        ("wk", narrow, width),
        ("wv", narrow, width),
        ("wo", width, width),
        ("ffn_norm", width),
        ("w1", mlp_width, width),
        ("w2", width, mlp_width),
        ("w3", mlp_width, width),
    ):
        for i in range(depth):
            take(f"layers.{i}.{name}", *shape)
    take("norm", width)
    take("freq_cis_real", length, width // heads // 2)
    take("freq_cis_imag", length, width // heads // 2)
    assert start == len(values)
    return tensors


def read_pieces(path):
    """Reads the text and the score of every token."""
    data, start = path.read_bytes(), 4
    pieces, scores = [], []
    while start < len(data):
        score, size = struct.unpack_from("fi", data, start)
        start += 8
        pieces.append(data[start : start + size].decode("utf-8"))
        scores.append(score)
        start += size
    return pieces, scores


def encode(prompt, pieces, scores):
    """Merges the neighbours of best score until none merge; a space comes first."""
    tokens = [pieces.index(letter) for letter in " " + prompt]
    while True:
        merged = [pieces[a] + pieces[b] for a, b in itertools.pairwise(tokens)]
        found = [
            (scores[pieces.index(m)], -i) for i, m in enumerate(merged) if m in pieces
        ]
        if not found:
            return [BEGIN, *tokens]
        at = -max(found)[1]
        tokens[at : at + 2] = [pieces.index(merged[at])]


def rms_norm(x, scale):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * scale


def turned(x, position):
    """Turns neighbouring features, as llama2.c does."""
    pairs = x.reshape(-1, 2) @ np.array([1, 1j])
    angles = position * 10_000.0 ** (-2 * np.arange(len(pairs)) / len(x))
    pairs = pairs * np.exp(1j * angles)
    return np.stack([pairs.real, pairs.imag], axis=-1).ravel()


def numpy_llama2c(tensors, tokens, heads, key_heads):
    """The logits of one text after every token, from the tensors as they are stored."""
    w = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
    x = w["tok_embeddings"][tokens]
    size = x.shape[1] // heads
    for i in range(sum(name.endswith("wq") for name in w)):
        p = {n.split(".")[-1]: t for n, t in w.items() if n.startswith(f"layers.{i}.")}
        y = rms_norm(x, p["attention_norm"])
        query = (y @ p["wq"].T).reshape(len(tokens), heads, size)
        key = (y @ p["wk"].T).reshape(len(tokens), key_heads, size)
        value = (y @ p["wv"].T).reshape(len(tokens), key_heads, size)
        read = np.zeros_like(query)
        for h in range(heads):
            g = h // (heads // key_heads)
            keys = [turned(key[s, g], s) for s in range(len(tokens))]
            for t in range(len(tokens)):
                q = turned(query[t, h], t)
                e = np.exp([q @ keys[s] / np.sqrt(size) for s in range(t + 1)])
                read[t, h] = e / e.sum() @ value[: t + 1, g]
        x = x + read.reshape(x.shape) @ p["wo"].T
        y = rms_norm(x, p["ffn_norm"])
        gate = y @ p["w1"].T
        x = x + (gate / (1 + np.exp(-gate)) * (y @ p["w3"].T)) @ p["w2"].T
    return rms_norm(x, w["norm"]) @ w["tok_embeddings"].T


@pytest.mark.slow(reason="writes a story")
def test_the_tiny_llama_tells_a_story_and_equals_numpy(real_data):
    tensors = read_stories(real_data / "stories260K.bin")
    pieces, scores = read_pieces(real_data / "tok512.bin")
    tokens = encode("Once upon a time", pieces, scores)
    length = len(tokens) + 24
    padded = jnp.array([tokens + [0] * 24], jnp.int32)
    variables = filled(STORIES, padded, tensors, transformer_maps.llama2c(STORIES))
    apply_fn = jax.jit(STORIES.apply)
    for t in range(len(tokens), length):
        best = apply_fn(variables, padded)[0, t - 1].argmax()
        padded = padded.at[0, t].set(best.astype(jnp.int32))
    story = "".join(pieces[t] for t in padded[0, 1:]).strip()
    assert story.startswith(
        "Once upon a time, there was a little girl named Lily. She loved to play"
    )
    expected = numpy_llama2c(tensors, np.asarray(padded[0]), heads=8, key_heads=4)
    logits = apply_fn(variables, padded)[0]
    np.testing.assert_allclose(logits, expected, atol=1e-3)


# --- A generator of digits ------------------------------------------------------------


def test_the_generator_draws_digits(real_data):
    """On a dark ground, with as much ink as MNIST has, and not always the same."""
    tensors = load_file(real_data / "mlp_gan_mnist.safetensors")
    model = MLPGenerator()
    latents = jax.random.normal(jax.random.key(0), (64, 64), jnp.float32)
    variables = filled(model, latents, tensors, transformer_maps.MLP_GAN_MNIST)
    images = np.asarray(model.apply(variables, latents))
    assert images.shape == (64, 28, 28, 1)
    ink = (images + 1) / 2
    border = np.concatenate([ink[:, :2].ravel(), ink[:, :, :2].ravel()])
    assert border.mean() < 0.01
    assert 0.08 < ink.mean() < 0.18  # MNIST's test set: 0.13
    bright = (ink > 0.9).mean(axis=(1, 2, 3))
    assert bright.min() > 0.01
    assert ink.std(axis=0).max() > 0.3
