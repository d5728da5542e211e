"""A network with one layer of positions and channels, in front of relus."""

import jax
import numpy as np


def weights(classes, *, bias=0.0):
    """Weights for inputs (batch, 2, 3, 4): the layer has 5 channels."""
    rng = np.random.default_rng(1)
    return {
        "first": rng.normal(size=(4, 5)),
        "hidden": rng.normal(size=(30, 7)) / 5,
        "bias": bias * rng.normal(size=7),
        "head": rng.normal(size=(7, classes)),
    }


def images(batch=3):
    return np.random.default_rng(2).normal(size=(batch, 2, 3, 4))


def network(v, x):
    """Returns logits from the layer of the site `layer`."""
    with jax.named_scope("layer"):
        a = jax.nn.relu(x @ v["first"])
    z = a.reshape(len(x), 30) @ v["hidden"] + v["bias"][None]
    return jax.nn.relu(z) @ v["head"]


def layer_of(v, x):
    """The activation of the layer, by hand."""
    return np.maximum(np.asarray(x) @ v["first"], 0)
