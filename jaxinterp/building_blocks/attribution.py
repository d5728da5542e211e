r"""What each position, channel and group of a layer contributes to a score.

$A$ is the activation of the layer for one example, $p$ a position, $c$ a channel, $y$
the score. All of these are sums of one cube, $A \odot \partial y / \partial A$, so

$$\sum_p R_p = \sum_c R_c = \sum_g R_g + R_\mathrm{rest} = y - \text{residual}.$$

The *residual* is 0 where the network behind the layer is homogeneous: without biases,
made of linear maps, relus and pooling. Otherwise it is what biases and curvature
contribute, and belongs beside the figure.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxinterp.attribution.place import Place, place_of
from jaxinterp.building_blocks.layer import check_cube
from jaxinterp.building_blocks.neuron_groups import Groups
from jaxinterp.loop.sums import evaluated
from jaxinterp.objectives.explained import explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit, total
from jaxinterp.types import ApplyFn, Inputs, Sites, Target, Variables


class Contributions(NamedTuple):
    """What the parts of a layer contribute to a score.

    Attributes:
        values: the contribution of each part, in the units of the score.
        score: the score of each example, `(batch,)`; of all classes `(batch, classes)`.
        residual: the score less the sum of all contributions, in the same shape.
    """

    values: Any
    score: Any
    residual: Any


class GroupContributions(NamedTuple):
    """What groups of neurons contribute to a score.

    Attributes:
        values: the contribution of each group, `(batch, groups)`.
        rest: that of what the groups leave out of the activation, `(batch,)`.
        score: the score of each example, `(batch,)`.
        residual: the score less all of these, `(batch,)`.
    """

    values: Any
    rest: Any
    score: Any
    residual: Any


def spatial_attribution(
    apply_fn: ApplyFn, *, at: Sites, score: Score | Objective | str = logit
) -> Callable[..., Contributions]:
    r"""Says which positions of a layer contribute to a score.

    $$R_p = \sum_c A_{pc}\, \frac{\partial y}{\partial A_{pc}}$$

    Cost: a forward and a backward pass. For two classes against each other give the
    score of a difference; for all classes at once there is `class_attribution`.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        at: the layer, a site whose activation is `(batch, *positions, channels)`.
        score: which number per example is explained: a score of the outputs or its
            name, or an objective, such as a channel of a later layer.

    Returns:
        A function `(variables, inputs, target=None)` that returns `Contributions`, of
        shape `(batch, *positions)`. A positive one raised the score.

    Raises:
        AddressError: when called, if there is no such site.
        ValueError: when called, if the site is no such layer, if the score does not
            depend on it, or if the target does not fit.

    References:
        Olah et al., 2018, on spatial attribution
        [olah2018building].

    Example:
        >>> model = lambda w, x: (jnp.tanh(x) * w).sum((1, 2))[:, None]
        >>> attribute = spatial_attribution(model, at="tanh")
        >>> x = jnp.arctanh(jnp.array([[[0.5, 0.0], [0.25, 0.25]]]))
        >>> result = attribute(jnp.array([1.0, 2.0])[None, None], x, 0)
        >>> result.values.round(4).tolist(), result.score.round(4).tolist()
        ([[0.5, 0.75]], [1.25])
    """

    def reduce(cube: Any) -> Any:
        return cube.sum(axis=-1)

    return _summed("spatial_attribution", apply_fn, at, score, reduce)


def channel_attribution(
    apply_fn: ApplyFn, *, at: Sites, score: Score | Objective | str = logit
) -> Callable[..., Contributions]:
    r"""Says which channels of a layer contribute to a score.

    $$R_c = \sum_p A_{pc}\, \frac{\partial y}{\partial A_{pc}}$$

    Cost: a forward and a backward pass.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        at: the layer, a site whose activation is `(batch, *positions, channels)`.
        score: which number per example is explained: a score of the outputs or its
            name, or an objective, such as a channel of a later layer.

    Returns:
        A function `(variables, inputs, target=None)` that returns `Contributions`, of
        shape `(batch, channels)`. A positive one raised the score.

    Raises:
        AddressError: when called, if there is no such site.
        ValueError: when called, if the site is no such layer, if the score does not
            depend on it, or if the target does not fit.

    References:
        Olah et al., 2018, on channel attribution [olah2018building].

    Example:
        >>> model = lambda w, x: (jnp.tanh(x) * w).sum((1, 2))[:, None]
        >>> attribute = channel_attribution(model, at="tanh")
        >>> x = jnp.arctanh(jnp.array([[[0.5, 0.0], [0.25, 0.25]]]))
        >>> attribute(jnp.array([1.0, 2.0])[None, None], x, 0).values.round(4).tolist()
        [[0.75, 0.5]]
    """

    def reduce(cube: Any) -> Any:
        return cube.sum(axis=tuple(range(1, cube.ndim - 1)))

    return _summed("channel_attribution", apply_fn, at, score, reduce)


def group_attribution(
    apply_fn: ApplyFn, *, at: Sites, score: Score | Objective | str = logit
) -> Callable[..., GroupContributions]:
    r"""Says which groups of neurons contribute to a score.

    $$R_g = \sum_{pc} U_{pg} V_{gc}\, \frac{\partial y}{\partial A_{pc}}$$

    with the factors of `neuron_groups`; `rest` is the same of $A - U V$. If it is large
    the groups do not tell the story. Cost: a forward and a backward pass.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        at: the layer in which the groups were found.
        score: which number per example is explained: a score of the outputs or its
            name, or an objective, such as a channel of a later layer.

    Returns:
        A function `(variables, inputs, groups, target=None)` that returns
        `GroupContributions`. A positive one raised the score.

    Raises:
        AddressError: when called, if there is no such site.
        TypeError: when called, if `groups` are none.
        ValueError: when called, if the site is no such layer, the groups are not of it,
            the score does not depend on it, or the target does not fit.

    References:
        Olah et al., 2018, on neuron groups [olah2018building].

    Example:
        >>> model = lambda w, x: jax.nn.relu(x).sum((1, 2))[:, None]
        >>> x = jnp.array([[[1.0, 0.0], [0.0, 3.0]]])
        >>> from jaxinterp.building_blocks import neuron_groups
        >>> groups = neuron_groups(model, at="relu", groups=2)(None, x)
        >>> result = group_attribution(model, at="relu")(None, x, groups, 0)
        >>> np.round(np.asarray(result.values, float), 3).tolist()
        [[3.0, 1.0]]
    """
    call = "group_attribution"
    model, score_fn = explained(apply_fn, score)

    def attribute(
        variables: Variables, inputs: Inputs, groups: Groups, target: Target = None
    ) -> GroupContributions:
        if not isinstance(groups, Groups):
            raise TypeError(
                f"{call}: `groups` are what `neuron_groups(apply_fn, at=at)(variables, "
                f"inputs)` returned, and are {type(groups).__name__}.\nWrite "
                "`attribute(variables, inputs, groups, target)`."
            )
        place = _place(call, model, score_fn, variables, inputs, target, at)
        shape = groups.residual.shape
        if shape != place.array.shape:
            raise ValueError(
                f"{call}: the groups are of an activation of shape {shape}, and that "
                f"at {str(at)!r} is {place.array.shape}.\nWrite "
                f"`neuron_groups(apply_fn, at={str(at)!r})(variables, inputs)`."
            )
        slopes, cube = _wide(place.slopes(model, score_fn, place.array), place.array)
        values = place.scores(model, score_fn, place.array)
        axes = tuple(range(1, len(shape)))
        contributions = jnp.einsum(
            *("b...g,bgc,b...c->bg", groups.spatial, groups.channels, slopes),
            precision="highest",
        )
        rest = (groups.residual * slopes).sum(axis=axes)
        residual = values - (cube * slopes).sum(axis=axes)
        parts = (contributions, rest, values, residual)
        return GroupContributions(*(part.astype(values.dtype) for part in parts))

    return attribute


def class_attribution(
    apply_fn: ApplyFn, *, at: Sites, batch_size: int | None = None
) -> Callable[..., Contributions]:
    r"""Says which positions of a layer contribute to which outputs, all at once.

    $$R_{pk} = \sum_c A_{pc}\, \frac{\partial y_k}{\partial A_{pc}}$$

    Going backward, each class takes a pass, and gives all positions; going forward each
    position takes one, the derivative along the activation of this position alone, and
    gives all classes. The numbers are the same, so the fewer passes are taken.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> (batch, classes)`.
        at: the layer, a site whose activation is `(batch, *positions, channels)`.
        batch_size: the number of passes computed at once, for all examples; by default
            as many as make 16 MB of inputs together.

    Returns:
        A function `(variables, inputs)` that returns `Contributions`, of shape `(batch,
        *positions, classes)`; `score` holds the outputs.

    Raises:
        AddressError: when called, if there is no such site.
        ValueError: when called, if the site is no such layer, the outputs are no array
            `(batch, classes)`, or do not depend on the site.

    References:
        Olah et al., 2018, on spatial attribution [olah2018building].

    Example:
        >>> model = lambda w, x: jnp.tanh(x).sum(1) @ w
        >>> x = jnp.arctanh(jnp.array([[[0.5, 0.0], [0.25, 0.25]]]))
        >>> w = jnp.array([[1.0, 0.0, 1.0], [0.0, 2.0, 1.0]])
        >>> class_attribution(model, at="tanh")(w, x).values.round(4).tolist()
        [[[0.5, 0.0, 0.5], [0.25, 0.5, 0.5]]]
    """
    call = "class_attribution"
    model, score_fn = explained(apply_fn, total)

    def backward(place: Place, index: Any) -> Any:
        """The contributions of all positions to one class, `(batch, positions)`."""
        slopes = place.slopes(model, _output(index), place.array)
        slopes, cube = _wide(slopes, place.array)
        size = math.prod(cube.shape[1:-1])
        return (cube * slopes).sum(axis=-1).reshape(len(cube), size)

    def forward(place: Place, index: Any) -> Any:
        """The contributions of one position to all classes, `(batch, classes)`."""
        shape = place.array.shape[1:-1]
        mask = (jnp.arange(math.prod(shape)) == index).reshape(1, *shape, 1)
        tangent = jnp.where(mask, place.array, 0)
        outputs = _rest(place).outputs
        return jax.jvp(outputs, (place.array,), (tangent,))[1]

    each_class = evaluated(backward, batch_size=batch_size, name=call)
    each_position = evaluated(forward, batch_size=batch_size, name=call)

    def attribute(variables: Variables, inputs: Inputs) -> Contributions:
        place = _place(call, model, score_fn, variables, inputs, None, at)
        outputs = _rest(place).outputs(place.array)
        shape = getattr(outputs, "shape", ())
        if len(shape) != 2:
            raise ValueError(
                f"{call} explains outputs (batch, classes), and the model returns "
                f"{jax.tree.map(jnp.shape, outputs)}."
            )
        *positions, _ = place.array.shape[1:]
        n_positions, n_classes = math.prod(positions), shape[1]
        if n_classes <= n_positions:
            values = each_class(place, jnp.arange(n_classes), inputs)
            values = jnp.moveaxis(values, 0, -1)
        else:
            values = each_position(place, jnp.arange(n_positions), inputs)
            values = jnp.moveaxis(values, 0, 1)
        residual = outputs - values.sum(axis=1).astype(outputs.dtype)
        values = values.reshape(len(outputs), *positions, n_classes)
        return Contributions(values.astype(outputs.dtype), outputs, residual)

    return attribute


def _summed(
    call: str,
    apply_fn: ApplyFn,
    at: Sites,
    score: Score | Objective | str,
    reduce: Callable[[Any], Any],
) -> Callable[..., Contributions]:
    """A function that sums the product of activation and slope over some axes."""
    model, score_fn = explained(apply_fn, score)

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None
    ) -> Contributions:
        place = _place(call, model, score_fn, variables, inputs, target, at)
        slopes, cube = _wide(place.slopes(model, score_fn, place.array), place.array)
        values = place.scores(model, score_fn, place.array)
        parts = reduce(cube * slopes)
        residual = values - parts.sum(axis=tuple(range(1, parts.ndim)))
        return Contributions(
            parts.astype(values.dtype), values, residual.astype(values.dtype)
        )

    return attribute


def _place(
    call: str,
    model: ApplyFn,
    score: Score,
    variables: Variables,
    inputs: Inputs,
    target: Target,
    at: Sites,
) -> Place:
    """The layer whose activation is explained, once the arguments are checked."""
    place = place_of(
        *(model, score, variables, inputs, target),
        at=at,
        name=call,
        channels_last=True,
    )
    check_cube(call, at, place.array, place.n_examples)
    return place


def _rest(place: Place) -> Any:
    """The model from the layer on."""
    assert place.rest is not None, "a layer was given"
    return place.rest


def _wide(*arrays: Any) -> tuple[Any, ...]:
    """Arrays in single precision at least, in which sums are taken."""
    return tuple(a.astype(jnp.promote_types(a.dtype, jnp.float32)) for a in arrays)


def _output(index: Any) -> Score:
    """The score that is one output of each example."""
    return lambda outputs, target: outputs[:, index]
