"""Grad-CAM: the channels of a layer, weighted by the mean of their gradients."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.attribution.backward import Backward, checked_seed
from jaxinterp.attribution.contract import Attribution, examples_in
from jaxinterp.objectives.explained import explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, gradient_seed, logit
from jaxinterp.types import ApplyFn, Inputs, Key, Sites, Target, Variables


def grad_cam(
    apply_fn: ApplyFn,
    *,
    at: Sites,
    resize: bool = True,
    score: Score | Objective | str = logit,
) -> Attribution:
    r"""Attributes to positions by a layer's channels, weighted by their mean gradients.

    $$L = \mathrm{ReLU}\left(\sum_c \alpha_c\,A_c\right), \quad \alpha_c =
    \frac{1}{Z} \sum_p \frac{\partial f}{\partial A_{c,p}}$$

    $A_c$ is the activation of channel $c$ at the site, $p$ its $Z$ positions. It says
    where, as coarsely as the layer is, what raised the score was found; nothing is said
    of what lowered it. Explain `-score` for that. Cost: one backward pass.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        at: the site whose channels are weighted, usually the last convolution or the
            activation after it; its last axis has the channels. For a glob or a
            selector a mapping from address to map is returned.
        resize: whether the map is resized to the positions of the inputs, linearly;
            otherwise the map at the site is returned, `(batch, *positions)`.
        score: which number per example is explained: a score of the outputs, or an
            objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs no target.

    Returns:
        An attribution function, never negative, in the units of `score` per position of
        the site. With `resize` it has the shape of the inputs, all channels of a pixel
        are equal, and their sum is the map.

    Raises:
        ValueError: when called, if the activation has no positions, or if with `resize`
            its positions have another number of axes than those of the inputs, or there
            are several inputs.

    References:
        Selvaraju et al., 2017, eqs. 1 and 2 [selvaraju2017gradcam].

    Example:
        >>> model = lambda w, x: jnp.tanh(x).mean((1, 2)) @ w
        >>> attribute = grad_cam(model, at="tanh", resize=False)
        >>> image = jnp.arctanh(jnp.array([[[[0.5]], [[0.0]]]]))
        >>> attribute(jnp.array([[4.0]]), image, 0).round(4).tolist()
        [[[1.0], [0.0]]]
    """
    model, score_fn = explained(apply_fn, score)

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        back = Backward(model, variables, inputs, None, at)
        n_examples = examples_in(inputs)
        seed = checked_seed(gradient_seed, score_fn, back.outputs, target, n_examples)
        slopes = back(seed)

        def of_site(address: str) -> Any:
            weighted = _map(back.activations[address], slopes[address], address)
            return _resized(weighted, inputs, address) if resize else weighted

        return back.shaped({address: of_site(address) for address in slopes})

    return attribute


def _map(activation: Any, slopes: Any, address: str) -> Any:
    """The map of a site, `(batch, *positions)`."""
    if activation.ndim < 3:
        raise ValueError(
            f"grad_cam: the activation at {address!r} has the shape "
            f"{activation.shape}, and no positions between examples and channels.\n"
            "Name a convolution or the activation after it; "
            "`print(jaxinterp.trace(apply_fn, variables, inputs))` lists them."
        )
    positions = tuple(range(1, activation.ndim - 1))
    weights = slopes.mean(positions, keepdims=True)
    return jax.nn.relu((weights * activation).sum(-1))


def _resized(weighted: Any, inputs: Inputs, address: str) -> Any:
    """The map at the positions of the inputs, shared by the channels of a pixel."""
    leaves = jax.tree.leaves(inputs)
    if len(leaves) > 1 or leaves[0].ndim != weighted.ndim + 1:
        shapes = [leaf.shape for leaf in leaves]
        raise ValueError(
            f"grad_cam: the map at {address!r} has the shape {weighted.shape}, and the "
            f"inputs {shapes}; it is resized to one array (batch, *positions, "
            "channels) with as many axes of positions.\nWrite `resize=False` for the "
            "map itself."
        )
    (x,) = leaves
    full = jax.image.resize(weighted, x.shape[:-1], "linear")
    shared = jnp.broadcast_to(full[..., None] / x.shape[-1], x.shape).astype(x.dtype)
    return jax.tree.map(lambda _: shared, inputs)
