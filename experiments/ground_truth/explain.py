"""Every method on one network, and how much of it lies where the truth is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

import jaxinterp as ji
from experiments.ground_truth import measures
from experiments.ground_truth.methods import Subject, methods, more_methods
from jaxinterp.perturbation import grid_segments
from jaxinterp.types import ApplyFn

BATCH = 50
BACKGROUND = 10
PATCHES = 8  # along each axis


class Located(NamedTuple):
    """How well a method finds the truth, mean over the examples.

    Attributes:
        mass: share of heat inside the true mask.
        pointing: how often the hottest place lies inside it.
        rank: rank of the evidence token, 1 at best; `None` for images.
    """

    mass: float
    pointing: float
    rank: float | None = None


def explain(attribute: Any, variables: Any, inputs: Any, target: Any) -> np.ndarray:
    """Returns the attributions of many examples, in batches of one shape.

    Args:
        attribute: the attribution function.
        variables: those of the network.
        inputs: of shape `(count, ...)`, where `count` is a multiple of the batch.
        target: of shape `(count,)`.

    Returns:
        An array of the rank of the inputs; a map of positions has one channel.
    """
    run, key = jax.jit(attribute), jax.random.key(0)
    found = [
        run(variables, inputs[i : i + BATCH], target[i : i + BATCH], key)
        for i in range(0, len(inputs), BATCH)
    ]
    whole = np.concatenate([np.asarray(part) for part in found])
    return whole if whole.ndim == inputs.ndim else whole[..., None]


def on_images(
    name: str, apply_fn: ApplyFn, variables: Any, images: Any, mask: Any
) -> tuple[dict[str, Located], dict[str, np.ndarray]]:
    """Explains the predicted class of images in [0, 1] by every method.

    Args:
        name: what the progress bar says.
        apply_fn: the network.
        variables: its weights.
        images: of shape `(count, height, width, channels)`.
        mask: where the truth is, of shape `(count, height, width)`.

    Returns:
        The figures and the attributions, by method; baselines are the last two.
    """
    images, mask = jnp.asarray(images), np.asarray(mask)
    target = jnp.argmax(jax.jit(apply_fn)(variables, images), axis=1)
    subject = Subject(
        0.5,
        background=images[:BACKGROUND],
        segments=grid_segments(images.shape[1:3], images.shape[1] // PATCHES),
        patterns=_patterns(apply_fn, variables, images),
        layer=last_map(apply_fn, variables, images[:1]),
    )
    found = _every(name, apply_fn, variables, images, target, subject)
    noise = np.random.default_rng(0).normal(size=mask.shape)
    found["baseline: edges"] = measures.edges(np.asarray(images))[..., None]
    found["baseline: random"] = noise[..., None]
    return _located(found, mask), found


def on_tokens(
    name: str, apply_fn: ApplyFn, variables: Any, tokens: Any, position: Any, mask: Any
) -> tuple[dict[str, Located], dict[str, np.ndarray]]:
    """Explains the predicted class of tokens, at their embedding, by every method.

    Args:
        name: what the progress bar says.
        apply_fn: the network; its embedding is the site `*embed*`.
        variables: its weights.
        tokens: of shape `(count, length)`.
        position: where the evidence is, of shape `(count,)`.
        mask: all positions that an ideal explanation finds, `(count, length)`.

    Returns:
        The figures and the attributions, by method; the baseline is the last.
    """
    tokens, mask = jnp.asarray(tokens), np.asarray(mask)
    position = np.asarray(position)
    target = jnp.argmax(jax.jit(apply_fn)(variables, tokens), axis=1)
    encode, model = from_embedding(apply_fn, variables, tokens[:1])
    embedded = jax.jit(encode)(variables, tokens)
    subject = Subject(
        None,
        background=embedded[:BACKGROUND],
        segments=grid_segments(embedded.shape[1:2], 1),
        patterns=_patterns(model, variables, embedded),
    )
    found = _every(name, model, variables, embedded, target, subject)
    noise = np.random.default_rng(0).normal(size=mask.shape)
    found["baseline: random"] = noise[..., None]
    return _located(found, mask, position), found


def _every(
    name: str,
    apply_fn: ApplyFn,
    variables: Any,
    inputs: Any,
    target: Any,
    subject: Subject,
) -> dict[str, np.ndarray]:
    bounds = (0.0, 1.0) if subject.gray is not None else ()
    every = methods(apply_fn, *bounds) | more_methods(apply_fn, subject)
    return {
        method: explain(attribute, variables, inputs, target)
        for method, attribute in tqdm(every.items(), desc=name, unit="method")
    }


def _patterns(apply_fn: ApplyFn, variables: Any, inputs: Any) -> Any:
    """The patterns of the affine sites; `None` of a network with sites in a loop."""
    graph = ji.trace(apply_fn, variables, inputs[:1])
    if any(site.length for site in graph.sites.values()):
        return None
    batches = [inputs[i : i + BATCH] for i in range(0, len(inputs), BATCH)]
    fitted = ji.attribution.fit_patterns(apply_fn, variables, batches, progress=False)
    return fitted.patterns


def last_map(apply_fn: ApplyFn, variables: Any, image: Any) -> str | None:
    """Returns the last site that has positions along two axes, if there is one.

    Where branches are joined it is the join, and not the last of the branches.

    Args:
        apply_fn: the network.
        variables: its weights.
        image: a batch of one.
    """
    graph = ji.trace(apply_fn, variables, image)
    shapes = {node.address: node.outputs[0].shape for node in graph.nodes}
    maps = [a for a, s in shapes.items() if len(s) == 4 and min(s[1:3]) > 1]
    return maps[-1] if maps else None


def from_embedding(
    apply_fn: ApplyFn, variables: Any, tokens: Any
) -> tuple[Callable[[Any, Any], Any], ApplyFn]:
    """Returns the embedding of a network of tokens, and the network from there on.

    Args:
        apply_fn: the network.
        variables: its weights.
        tokens: any batch: it only has a shape.
    """
    graph = ji.trace(apply_fn, variables, tokens)
    (site, *_) = [n.address for n in graph.nodes if n.role == "embedding"]
    encode, decode = ji.split(apply_fn, site)

    def model(variables: Any, activation: Any) -> Any:
        same = jnp.zeros(activation.shape[:2], tokens.dtype)  # nobody reads it
        return decode(variables, activation, same)

    return encode, model


def _located(
    found: Mapping[str, np.ndarray],
    mask: np.ndarray,
    position: np.ndarray | None = None,
) -> dict[str, Located]:
    rows = {}
    for method, attribution in found.items():
        heat = measures.heat(attribution)
        rank = None
        if position is not None:
            rank = float(measures.rank(heat, position).mean())
        rows[method] = Located(
            float(measures.mass(heat, mask).mean()),
            float(measures.points_inside(heat, mask).mean()),
            rank,
        )
    return rows
