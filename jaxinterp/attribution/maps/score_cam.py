"""Maps without gradients: channels weighted by what the score does with each alone."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.attribution.contract import Attribution, method
from jaxinterp.attribution.maps.channels import check_positions, resized
from jaxinterp.attribution.place import Place, place_of
from jaxinterp.loop.sums import evaluated
from jaxinterp.objectives.explained import explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit
from jaxinterp.types import ApplyFn, Inputs, Key, Sites, Target, Variables


@method
def score_cam(
    apply_fn: ApplyFn,
    *,
    at: Sites,
    resize: bool = True,
    rectify: bool = True,
    batch_size: int | None = None,
    score: Score | Objective | str = logit,
) -> Attribution:
    r"""Attributes to positions by channels, weighted by the score of what each shows.

    $$L = \mathrm{ReLU}\left(\sum_c \alpha_c\,A_c\right), \quad \alpha =
    \mathrm{softmax}_c\left(f(x \odot M_c)\right)$$

    The mask $M_c$ is channel $c$ of the activation $A$ at the site, resized to the
    inputs and stretched to $[0, 1]$; that of a constant channel is zero, and hides the
    whole input. Cost: a forward pass for each channel, and one.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        at: the site whose channels are weighted, usually the last convolution or the
            activation after it. Channels may be first or last. One site only.
        resize: whether the map is resized to the positions of the inputs, linearly;
            otherwise the map at the site is returned, `(batch, *positions)`.
        rectify: whether negative entries of the map are set to zero.
        batch_size: the number of channels computed at once; by default as many as make
            16 MB of inputs of the whole batch together, at least one.
        score: which number per example is explained: a score of the outputs, or an
            objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs no target.

    Returns:
        An attribution function, in the units of the activation. With `resize` the map
        has the shape of the inputs: all channels of a pixel are equal, and add up to
        it.

    Raises:
        ValueError: if `batch_size` is not positive; when called, if the activation has
            no positions, or another number of axes of positions than the inputs, if
            there are several inputs, or if `at` matches several sites.

    References:
        Wang et al., 2020 [wang2020scorecam].

    Example:
        >>> model = lambda w, x: jnp.tanh(x).sum((1, 2)) @ w
        >>> attribute = score_cam(model, at="tanh", resize=False)
        >>> image = jnp.arctanh(jnp.array([[[[0.5]], [[0.0]]]]))
        >>> attribute(jnp.array([[4.0]]), image, 0).round(4).tolist()
        [[[0.5], [0.0]]]
    """
    model, score_fn = explained(apply_fn, score)

    def step(place: Place, mask: Any) -> Any:
        shown = jax.tree.map(lambda x: x * mask[..., None].astype(x.dtype), place.array)
        return place.scores(model, score_fn, shown)

    scores_of = evaluated(step, batch_size=batch_size, name="score_cam")

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        call = model, score_fn, variables, inputs, target
        site = place_of(*call, at=at, name="score_cam", channels_last=True)
        check_positions(site.array, "score_cam", at)
        place = place_of(*call, at=None, name="score_cam")
        maps = jnp.moveaxis(site.array, -1, 0)
        (x,) = jax.tree.leaves(resized(maps[0], inputs, "score_cam", at))
        masks = _stretched(jax.image.resize(maps, (len(maps), *x.shape[:-1]), "linear"))
        values = scores_of(place, masks, place.array)
        values = _weighted(site.array, jax.nn.softmax(values, axis=0))
        values = jax.nn.relu(values) if rectify else values
        values = resized(values, inputs, "score_cam", at) if resize else values
        return site.shaped(at, values)

    return attribute


@method
def ablation_cam(
    apply_fn: ApplyFn,
    *,
    at: Sites,
    resize: bool = True,
    rectify: bool = True,
    batch_size: int | None = None,
    score: Score | Objective | str = logit,
) -> Attribution:
    r"""Attributes to positions by channels, weighted by how much the score needs each.

    $$L = \mathrm{ReLU}\left(\sum_c \left(f(A) - f(A_{c \to 0})\right) A_c\right)$$

    $A_{c \to 0}$ is the activation at the site with channel $c$ set to zero. The paper
    divides the weights by the score, which turns the map of a negative score about;
    here they stay in its units. Cost: a forward pass from the site on for each channel,
    and one.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        at: the site whose channels are weighted, usually the last convolution or the
            activation after it. Channels may be first or last. One site only.
        resize: whether the map is resized to the positions of the inputs, linearly;
            otherwise the map at the site is returned, `(batch, *positions)`.
        rectify: whether negative entries of the map are set to zero.
        batch_size: the number of channels computed at once; by default as many as make
            16 MB of activations of the whole batch together, at least one.
        score: which number per example is explained: a score of the outputs, or an
            objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs no target.

    Returns:
        An attribution function, in the units of score times activation. With `resize`
        the map has the shape of the inputs: all channels of a pixel are equal, and add
        up to it.

    Raises:
        ValueError: if `batch_size` is not positive; when called, if the activation has
            no positions, or with `resize` another number of axes of positions than the
            inputs, if there are several inputs, or if `at` matches several sites.

    References:
        Desai and Ramaswamy, 2020 [desai2020ablation].

    Example:
        >>> model = lambda w, x: jnp.tanh(x).sum((1, 2)) @ w
        >>> attribute = ablation_cam(model, at="tanh", resize=False)
        >>> image = jnp.arctanh(jnp.array([[[[0.5]], [[0.25]]]]))
        >>> attribute(jnp.array([[4.0]]), image, 0).round(4).tolist()
        [[[1.5], [0.75]]]
    """
    model, score_fn = explained(apply_fn, score)

    def step(place: Place, channel: Any) -> Any:
        is_kept = jnp.arange(place.array.shape[-1]) != channel
        shape = (1,) * (place.array.ndim - 1) + is_kept.shape
        return place.scores(
            model, score_fn, jnp.where(is_kept.reshape(shape), place.array, 0)
        )

    scores_of = evaluated(step, batch_size=batch_size, name="ablation_cam")

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        call = model, score_fn, variables, inputs, target
        site = place_of(*call, at=at, name="ablation_cam", channels_last=True)
        check_positions(site.array, "ablation_cam", at)
        n_channels = site.array.shape[-1]
        values = scores_of(site, jnp.arange(n_channels + 1), site.array)
        # The last one hides no channel.
        values = _weighted(site.array, values[-1:] - values[:-1])
        values = jax.nn.relu(values) if rectify else values
        values = resized(values, inputs, "ablation_cam", at) if resize else values
        return site.shaped(at, values)

    return attribute


def _stretched(maps: Any) -> Any:
    """Maps `(channels, batch, *positions)`, each with its range from zero to one."""
    axes = tuple(range(2, maps.ndim))
    low, high = maps.min(axes, keepdims=True), maps.max(axes, keepdims=True)
    return (maps - low) / jnp.where(high == low, 1, high - low)


def _weighted(activation: Any, weights: Any) -> Any:
    """A map of an activation, by the weights of its channels, `(channels, batch)`."""
    weights = weights.T.reshape(len(activation), *[1] * (activation.ndim - 2), -1)
    return (activation * weights.astype(activation.dtype)).sum(-1)
