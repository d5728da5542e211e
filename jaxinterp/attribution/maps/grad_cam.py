"""Grad-CAM and its kin: the channels of a layer, weighted by gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.attribution.backward import (
    Backward,
    attribution_by_backward,
    checked_seed,
)
from jaxinterp.attribution.contract import Attribution, examples_in, method
from jaxinterp.attribution.maps.channels import (
    check_positions,
    positions_of,
    resized,
)
from jaxinterp.objectives.explained import explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit
from jaxinterp.objectives.seed import gradient_seed
from jaxinterp.rules.composite import DERIVATIVE
from jaxinterp.rules.presets import guided_backprop
from jaxinterp.tracing.by_address import ByAddress
from jaxinterp.types import ApplyFn, Inputs, Key, Sites, Target, Variables

# Activation and gradient, `(batch, *positions, channels)` -> `(batch, *positions)`.
Weighted = Callable[[Any, Any], Any]


def _of_gradients(
    apply_fn: ApplyFn,
    name: str,
    weighted: Weighted,
    at: Sites,
    resize: bool,
    rectify: bool,
    score: Score | Objective | str,
) -> Attribution:
    model, score_fn = explained(apply_fn, score)

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        back = Backward(model, variables, inputs, DERIVATIVE, at)
        back.check_outside_of_loops()
        n_examples = examples_in(inputs)
        seed = checked_seed(gradient_seed, score_fn, back.outputs, target, n_examples)
        slopes = back(seed)

        def of_site(address: str) -> Any:
            in_order = back.sites[address].channels_last
            activation = in_order(back.activations[address])
            check_positions(activation, name, address)
            values = weighted(activation, in_order(slopes[address]))
            values = jax.nn.relu(values) if rectify else values
            return resized(values, inputs, name, address) if resize else values

        return back.shaped({address: of_site(address) for address in slopes})

    return attribute


@method
def grad_cam(
    apply_fn: ApplyFn,
    *,
    at: Sites,
    resize: bool = True,
    rectify: bool = True,
    score: Score | Objective | str = logit,
) -> Attribution:
    r"""Attributes to positions by a layer's channels, weighted by their mean gradients.

    $$L = \mathrm{ReLU}\left(\sum_c \alpha_c\,A_c\right), \quad \alpha_c =
    \frac{1}{Z} \sum_p \frac{\partial f}{\partial A_{c,p}}$$

    $A_c$ is the activation of channel $c$ at the site, $p$ its $Z$ positions. It says
    where, as coarsely as the layer is, what raised the score was found; nothing is said
    of what lowered it: explain `-score` for that, or do not `rectify`. Cost: one
    backward pass.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        at: the site whose channels are weighted, usually the last convolution or the
            activation after it. Channels may be first or last. For a glob or a
            selector a mapping from address to map is returned.
        resize: whether the map is resized to the positions of the inputs, linearly;
            otherwise the map at the site is returned, `(batch, *positions)`.
        rectify: whether negative entries of the map are set to zero.
        score: which number per example is explained: a score of the outputs, or an
            objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs no target.

    Returns:
        An attribution function. With `resize` the map has the shape of the inputs: all
        channels of a pixel are equal, and add up to it. It is in the units of
        `score` per position of the site.

    Raises:
        ValueError: when called, if the activation has no positions or is inside a loop,
            or if with `resize` its positions have another number of axes than those of
            the inputs, or there are several inputs.

    References:
        Selvaraju et al., 2017, eqs. 1 and 2 [selvaraju2017gradcam].

    Example:
        >>> model = lambda w, x: jnp.tanh(x).mean((1, 2)) @ w
        >>> attribute = grad_cam(model, at="tanh", resize=False)
        >>> image = jnp.arctanh(jnp.array([[[[0.5]], [[0.25]]]]))
        >>> attribute(jnp.array([[4.0]]), image, 0).round(4).tolist()
        [[[1.0], [0.5]]]
    """

    def weighted(activation: Any, slopes: Any) -> Any:
        weights = slopes.mean(positions_of(slopes), keepdims=True)
        return (weights * activation).sum(-1)

    options = at, resize, rectify, score
    return _of_gradients(apply_fn, "grad_cam", weighted, *options)


@method
def grad_cam_plus_plus(
    apply_fn: ApplyFn,
    *,
    at: Sites,
    resize: bool = True,
    rectify: bool = True,
    score: Score | Objective | str = logit,
) -> Attribution:
    r"""Attributes to positions by channels, weighted by what each place needs.

    $$\alpha_c = \sum_p \frac{g_{c,p}^2}{2 g_{c,p}^2 + g_{c,p}^3 \sum_q A_{c,q}}
    \,\mathrm{ReLU}(g_{c,p}), \quad L = \mathrm{ReLU}\left(\sum_c \alpha_c\,A_c\right)$$

    $g$ is the gradient of the score with respect to the activation $A$ at the site. A
    channel that is needed at a few of its positions counts as much as one that is
    needed at many, so that several objects of a class are all found. Cost: one backward
    pass.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        at: the site whose channels are weighted, usually the last convolution or the
            activation after it. Channels may be first or last. For a glob or a
            selector a mapping from address to map is returned.
        resize: whether the map is resized to the positions of the inputs, linearly;
            otherwise the map at the site is returned, `(batch, *positions)`.
        rectify: whether negative entries of the map are set to zero.
        score: which number per example is explained: a score of the outputs, or an
            objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs no target.

    Returns:
        An attribution function. With `resize` the map has the shape of the inputs: all
        channels of a pixel are equal, and add up to it. Its sizes only compare
        within a map.

    Raises:
        ValueError: when called, if the activation has no positions or is inside a loop,
            or if with `resize` its positions have another number of axes than those of
            the inputs, or there are several inputs.

    References:
        Chattopadhay et al., 2018 [chattopadhay2018gradcam], for the exponential of the
        score; the sum over positions is that of the paper, not a mean.

    Example:
        >>> model = lambda w, x: jnp.tanh(x).mean((1, 2)) @ w
        >>> attribute = grad_cam_plus_plus(model, at="tanh", resize=False)
        >>> image = jnp.arctanh(jnp.array([[[[0.5]], [[0.25]]]]))
        >>> (7 * attribute(jnp.array([[4.0]]), image, 0)).round().tolist()
        [[[4.0], [2.0]]]
    """

    def weighted(activation: Any, slopes: Any) -> Any:
        square, whole = slopes**2, activation.sum(positions_of(slopes), keepdims=True)
        divisor = 2 * square + slopes * square * whole
        share = square / jnp.where(divisor == 0, 1, divisor)
        share = jnp.where(divisor == 0, 0, share) * jax.nn.relu(slopes)
        return (share.sum(positions_of(slopes), keepdims=True) * activation).sum(-1)

    options = at, resize, rectify, score
    return _of_gradients(apply_fn, "grad_cam_plus_plus", weighted, *options)


@method
def x_grad_cam(
    apply_fn: ApplyFn,
    *,
    at: Sites,
    resize: bool = True,
    rectify: bool = True,
    score: Score | Objective | str = logit,
) -> Attribution:
    r"""Attributes to positions by channels, weighted by their shares of the score.

    $$L = \mathrm{ReLU}\left(\sum_c \alpha_c\,A_c\right), \quad \alpha_c =
    \sum_p \frac{A_{c,p}}{\sum_q A_{c,q}}\,\frac{\partial f}{\partial A_{c,p}}$$

    The gradients of Grad-CAM, weighted by the activation: the map, unrectified, adds up
    to gradient times activation at the site, and so to the score if what follows is
    linear without biases. A channel that is zero on average gets nothing. Cost: one
    backward pass.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        at: the site whose channels are weighted, usually the last convolution or the
            activation after it. Channels may be first or last. For a glob or a
            selector a mapping from address to map is returned.
        resize: whether the map is resized to the positions of the inputs, linearly;
            otherwise the map at the site is returned, `(batch, *positions)`.
        rectify: whether negative entries of the map are set to zero.
        score: which number per example is explained: a score of the outputs, or an
            objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs no target.

    Returns:
        An attribution function. With `resize` the map has the shape of the inputs: all
        channels of a pixel are equal, and add up to it. It is in the units of
        `score` per position of the site.

    Raises:
        ValueError: when called, if the activation has no positions or is inside a loop,
            or if with `resize` its positions have another number of axes than those of
            the inputs, or there are several inputs.

    References:
        Fu et al., 2020 [fu2020axiombased].

    Example:
        >>> model = lambda w, x: jnp.tanh(x).mean((1, 2)) @ w
        >>> attribute = x_grad_cam(model, at="tanh", resize=False)
        >>> image = jnp.arctanh(jnp.array([[[[0.5]], [[0.25]]]]))
        >>> attribute(jnp.array([[4.0]]), image, 0).round(4).tolist()
        [[[1.0], [0.5]]]
    """

    def weighted(activation: Any, slopes: Any) -> Any:
        positions = positions_of(slopes)
        whole = activation.sum(positions, keepdims=True)
        share = activation / jnp.where(whole == 0, 1, whole)
        weights = jnp.where(whole == 0, 0, share * slopes).sum(positions, keepdims=True)
        return (weights * activation).sum(-1)

    options = at, resize, rectify, score
    return _of_gradients(apply_fn, "x_grad_cam", weighted, *options)


@method
def hires_cam(
    apply_fn: ApplyFn,
    *,
    at: Sites,
    resize: bool = True,
    rectify: bool = False,
    score: Score | Objective | str = logit,
) -> Attribution:
    r"""Attributes to positions by gradient times activation, summed over channels.

    $$L_p = \sum_c \frac{\partial f}{\partial A_{c,p}}\,A_{c,p}$$

    Unlike Grad-CAM it takes no mean over positions first, so that nothing is
    highlighted that the rest of the model does not use there. If the rest is linear
    without biases, the map adds up to the score. Cost: one backward pass.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        at: the site whose channels are weighted, usually the last convolution or the
            activation after it. Channels may be first or last. For a glob or a
            selector a mapping from address to map is returned.
        resize: whether the map is resized to the positions of the inputs, linearly;
            otherwise the map at the site is returned, `(batch, *positions)`.
        rectify: whether negative entries of the map are set to zero.
        score: which number per example is explained: a score of the outputs, or an
            objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs no target.

    Returns:
        An attribution function. With `resize` the map has the shape of the inputs: all
        channels of a pixel are equal, and add up to it. It is in the units of
        `score`, which negative entries lowered.

    Raises:
        ValueError: when called, if the activation has no positions or is inside a loop,
            or if with `resize` its positions have another number of axes than those of
            the inputs, or there are several inputs.

    References:
        Draelos and Carin, 2020 [draelos2020use].

    Example:
        >>> model = lambda w, x: jnp.tanh(x).mean((1, 2)) @ w
        >>> attribute = hires_cam(model, at="tanh", resize=False)
        >>> image = jnp.arctanh(jnp.array([[[[0.5]], [[0.25]]]]))
        >>> attribute(jnp.array([[4.0]]), image, 0).round(4).tolist()
        [[[1.0], [0.5]]]
    """

    def weighted(activation: Any, slopes: Any) -> Any:
        return (slopes * activation).sum(-1)

    options = at, resize, rectify, score
    return _of_gradients(apply_fn, "hires_cam", weighted, *options)


@method
def layer_cam(
    apply_fn: ApplyFn,
    *,
    at: Sites,
    resize: bool = True,
    rectify: bool = True,
    score: Score | Objective | str = logit,
) -> Attribution:
    r"""Attributes to positions by channels, weighted by rising gradients in place.

    $$L_p = \mathrm{ReLU}\left(\sum_c \mathrm{ReLU}\left(\frac{\partial f}{\partial
    A_{c,p}}\right) A_{c,p}\right)$$

    It also works at shallow layers, whose gradients differ from place to place, and
    shows finer details there than Grad-CAM. Cost: one backward pass.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        at: the site whose channels are weighted, usually the last convolution or the
            activation after it. Channels may be first or last. For a glob or a
            selector a mapping from address to map is returned.
        resize: whether the map is resized to the positions of the inputs, linearly;
            otherwise the map at the site is returned, `(batch, *positions)`.
        rectify: whether negative entries of the map are set to zero.
        score: which number per example is explained: a score of the outputs, or an
            objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs no target.

    Returns:
        An attribution function. With `resize` the map has the shape of the inputs: all
        channels of a pixel are equal, and add up to it. It is in the units of
        `score`.

    Raises:
        ValueError: when called, if the activation has no positions or is inside a loop,
            or if with `resize` its positions have another number of axes than those of
            the inputs, or there are several inputs.

    References:
        Jiang et al., 2021 [jiang2021layercam].

    Example:
        >>> model = lambda w, x: jnp.tanh(x).mean((1, 2)) @ w
        >>> attribute = layer_cam(model, at="tanh", resize=False)
        >>> image = jnp.arctanh(jnp.array([[[[0.5]], [[0.25]]]]))
        >>> attribute(jnp.array([[4.0]]), image, 0).round(4).tolist()
        [[[1.0], [0.5]]]
    """

    def weighted(activation: Any, slopes: Any) -> Any:
        return (jax.nn.relu(slopes) * activation).sum(-1)

    options = at, resize, rectify, score
    return _of_gradients(apply_fn, "layer_cam", weighted, *options)


@method
def guided_grad_cam(
    apply_fn: ApplyFn, *, at: Sites, score: Score | Objective | str = logit
) -> Attribution:
    r"""Attributes by guided backpropagation, times the map of Grad-CAM.

    $$a = L \odot R$$

    $L$ is the map, resized to the inputs, and $R$ what guided backpropagation says. It
    is as fine as the latter and as specific to the class as the former; what it shows
    of edges is hardly changed when the weights are drawn anew. Cost: two backward
    passes.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        at: the site of Grad-CAM, usually the last convolution or the activation after
            it; one site only.
        score: which number per example is explained: a score of the outputs, or an
            objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs no target.

    Returns:
        An attribution function; a product, whose sizes only compare within an image.

    Raises:
        ValueError: when called, if the activation has no positions, or another number
            of axes of positions than the inputs; if there are several inputs, or `at`
            matches several sites.

    References:
        Selvaraju et al., 2017, section 3.2 [selvaraju2017gradcam].

    Example:
        >>> model = lambda w, x: jnp.tanh(x).mean((1, 2)) @ w
        >>> attribute = guided_grad_cam(model, at="tanh")
        >>> image = jnp.arctanh(jnp.array([[[[0.5]], [[0.0]]]]))
        >>> attribute(jnp.array([[4.0]]), image, 0).round(4)[0, :, 0, 0].tolist()
        [1.5, 0.0]
    """
    composite = guided_backprop()
    fine = attribution_by_backward(apply_fn, score=score, at=None, composite=composite)
    coarse = grad_cam(apply_fn, at=at, score=score)

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        maps = coarse(variables, inputs, target)
        if isinstance(maps, ByAddress):
            if len(maps) > 1:
                raise ValueError(
                    f"guided_grad_cam takes one site, and {str(at)!r} matches "
                    f"{len(maps)}: {', '.join(list(maps)[:5])}, ..."
                )
            (maps,) = maps.values()
        details = fine(variables, inputs, target)

        def product(map_: Any, detail: Any) -> Any:
            return map_ * map_.shape[-1] * detail  # the map is shared by its channels

        return jax.tree.map(product, maps, details)

    return attribute
