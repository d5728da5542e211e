"""`pretrained`: a small trained network of this package, with the task that it solves.

The files lie beside this one, in `networks/`, with a README that says how they were
made. `python -m experiments.zoo --ship` makes them anew.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict
from jaxtyping import Array, Float, Int

from jaxinterp.checks import checked_integer
from jaxinterp.data.sequences import evidence, induction, modular_addition
from jaxinterp.data.sets import RealSet, breast_cancer, digits
from jaxinterp.data.shapes import shapes
from jaxinterp.data.tabular import Ishigami
from jaxinterp.data.watermark import watermark
from jaxinterp.keys import check_key
from jaxinterp.models.adapters import from_linen
from jaxinterp.models.architectures.cnn import CNN
from jaxinterp.models.architectures.mlp import MLP
from jaxinterp.models.architectures.recurrent import LSTMClassifier
from jaxinterp.models.architectures.transformer import Transformer
from jaxinterp.models.weights.hub import verify
from jaxinterp.models.weights.readers import read_tensors
from jaxinterp.types import ApplyFn, Key, Variables

FOLDER = Path(__file__).with_name("networks")
# One line a file, in the format of the program `sha256sum`.
CHECKSUMS = FOLDER / "SHA256SUMS"


class Examples(NamedTuple):
    """Examples of a task that tells no more than the right answer.

    Attributes:
        inputs: what the network reads, batch first.
        labels: the class of each example, or the value of a regression, `(batch, 1)`.
    """

    inputs: Float[Array, "batch ..."] | Int[Array, "batch ..."]
    labels: Float[Array, "batch 1"] | Int[Array, " batch"]


class Pretrained(NamedTuple):
    """A trained network and its task.

    Attributes:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        variables: the trained weights of the model, in float32.
        draw: a function `draw(key, count)` that draws examples of the task with their
            truth, on which the network was not trained.
    """

    apply_fn: ApplyFn
    variables: Variables
    draw: Callable[[Key, int], Any]


class Network(NamedTuple):
    """What is known of a network beside its weights.

    Attributes:
        module: the network as a linen module.
        draw: a function `draw(key, count)` that draws examples of its task.
    """

    module: nn.Module
    draw: Callable[[Key, int], Any]


def pretrained(name: str) -> Pretrained:
    """Returns a small trained network, and examples of the task that it solves.

    The networks are part of this package: nothing is downloaded or trained. Most of
    what `draw` returns holds the truth that an explanation should find.

    | name | answers | `draw` returns |
    |---|---|---|
    | `"shapes_cnn"` | which of 36 objects is outlined | `data.Shapes` |
    | `"watermark_cnn"` | which shape; it reads a colored patch | `data.Watermark` |
    | `"evidence_transformer"` | the class of one token | `data.Evidence` |
    | `"evidence_lstm"` | the same | `data.Evidence` |
    | `"induction"` | the next token of a repeated part | `data.Induction` |
    | `"tabular_ishigami"` | a function of three numbers | `Examples` |
    | `"modular_addition"` | the sum of two numbers modulo 37 | `Examples` |
    | `"digits_cnn"` | which digit | `Examples` |
    | `"tabular_breast_cancer"` | benign or malignant | `Examples` |

    In the images of `watermark_cnn` the color of the patch is random; those in which it
    gives the shape away, as in training, are `data.watermark(key, count)`. The truth
    about `tabular_ishigami` is `data.Ishigami()`. The last three tasks have few
    examples: `draw` shuffles those that were held out, by which the end of training was
    chosen as well, and there are 548, 359 and 114 of them.

    Args:
        name: the name of the network.

    Returns:
        Apply function, variables, and the function that draws examples. Its key may be
        any random key, and the first examples of a larger set are those of a smaller
        one.

    Raises:
        ValueError: if there is no network of that name, or if `draw` is asked for more
            examples than were held out.
        WeightsError: if the file of the network is not the one that was shipped.

    Example:
        >>> model = pretrained("evidence_transformer")
        >>> examples = model.draw(jax.random.key(0), 64)
        >>> logits = model.apply_fn(model.variables, examples.tokens)
        >>> bool((logits.argmax(axis=1) == examples.labels).mean() > 0.95)
        True
    """
    if name not in NETWORKS:
        nearest = difflib.get_close_matches(str(name), NETWORKS, n=3)
        hint = f" Is it {' or '.join(map(repr, nearest))}?" if nearest else ""
        raise ValueError(
            f"pretrained: there is no network {name!r}.{hint} There are: "
            f"{', '.join(NETWORKS)}. Other weights are read by `ji.models.load`."
        )
    file = FOLDER / f"{name}.safetensors"
    verify(file, _checksums()[file.name], remedy="Install jaxinterp again.")
    tensors = {path: jnp.asarray(array) for path, array in read_tensors(file).items()}
    network = NETWORKS[name]
    pair = from_linen(network.module, unflatten_dict(tensors, sep="/"))
    return Pretrained(*pair, network.draw)


def _checksums() -> dict[str, str]:
    """Returns the SHA-256 checksum of every file by name."""
    lines = CHECKSUMS.read_text("utf-8").splitlines()
    return {name: sha256 for sha256, name in map(str.split, lines)}


# --- Tasks ----------------------------------------------------------------------------


def _ishigami(key: Key, count: int) -> Examples:
    function = Ishigami()
    inputs = function.sample(key, count).astype(jnp.float32)
    return Examples(inputs, function(inputs)[:, None])


def _sums(key: Key, count: int) -> Examples:
    data = modular_addition(jax.random.key(0), p=37, train_fraction=0.6)
    is_held_out = ~np.asarray(data.is_train)
    inputs, labels = np.asarray(data.inputs), np.asarray(data.labels)
    return _shuffled(inputs[is_held_out], labels[is_held_out], key, count)


def _held_out(read: Callable[[Key], RealSet], key: Key, count: int) -> Examples:
    data = read(jax.random.key(0))
    return _shuffled(data.test_inputs, data.test_labels, key, count)


def _shuffled(inputs: np.ndarray, labels: np.ndarray, key: Key, count: int) -> Examples:
    """Returns the first of the examples that were held out, shuffled by the key."""
    check_key("draw", key)
    count = checked_integer("count", count, 1, call="draw")
    if count > len(labels):
        raise ValueError(
            f"draw: {len(labels)} examples were held out, and `count` is {count}."
        )
    rows = np.asarray(jax.random.permutation(key, len(labels)))[:count]
    return Examples(jnp.asarray(inputs[rows]), jnp.asarray(labels[rows]))


# --- Networks -------------------------------------------------------------------------

_EVIDENCE = functools.partial(evidence, length=24, classes=4, neutral=8)

NETWORKS: Mapping[str, Network] = {
    "shapes_cnn": Network(CNN(classes=36), functools.partial(shapes, size=64)),
    "watermark_cnn": Network(
        CNN(classes=4, stages=((), (32,), (32,))),
        functools.partial(watermark, size=64, correlation=0.0),
    ),
    "digits_cnn": Network(
        CNN(classes=10, stem_size=3, stem_stride=1, stages=((), (32,), (32,))),
        functools.partial(_held_out, digits),
    ),
    "evidence_transformer": Network(
        Transformer(
            vocabulary=13,
            width=32,
            depth=2,
            heads=2,
            max_length=24,
            mlp_width=64,
            is_tied=False,
            classes=4,
            reads="last",
        ),
        _EVIDENCE,
    ),
    "evidence_lstm": Network(
        LSTMClassifier(classes=4, width=64, vocabulary=13), _EVIDENCE
    ),
    "induction": Network(
        Transformer(
            vocabulary=64,
            width=64,
            depth=2,
            heads=2,
            max_length=32,
            attention_only=True,
            is_tied=False,
        ),
        functools.partial(induction, length=32, vocabulary=64),
    ),
    "modular_addition": Network(
        Transformer(
            vocabulary=38,
            width=64,
            depth=1,
            heads=4,
            max_length=3,
            mlp_width=256,
            activation="relu",
            use_norm=False,
            use_bias=False,
            is_tied=False,
            classes=37,
            reads="last",
        ),
        _sums,
    ),
    "tabular_ishigami": Network(
        MLP(outputs=1, widths=(64, 64), activation="silu"), _ishigami
    ),
    "tabular_breast_cancer": Network(
        MLP(outputs=2, widths=(32, 32)), functools.partial(_held_out, breast_cancer)
    ),
}
