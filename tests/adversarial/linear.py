"""Linear classifiers, of which the smallest change is known in every norm."""

import jax.numpy as jnp
import numpy as np

from jaxinterp.adversarial import l1, l2, linf

BALLS = {"linf": linf, "l2": l2, "l1": l1}
RNG = np.random.default_rng(1)


def linear(v, x):
    """Returns logits."""
    return jnp.asarray(x).reshape(x.shape[0], -1) @ v["w"] + v["b"]


def classifier(classes: int, entries: int = 6):
    """Returns variables, inputs and the class of each."""
    random = np.random.default_rng(classes)
    v = {
        "w": random.normal(size=(entries, classes)),
        "b": random.normal(size=(1, classes)),
    }
    x = random.normal(size=(7, entries))
    return v, x, np.asarray(linear(v, x)).argmax(axis=1)
