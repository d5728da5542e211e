"""What objectives need of a model: its shapes, and what it computes of images."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.loop.static import hashable
from jaxinterp.objectives.objective import Objective, Shapes
from jaxinterp.rules.composite import Composite
from jaxinterp.tracing.call import trace
from jaxinterp.tracing.capture import capture
from jaxinterp.tracing.facts.batch_axis import mixing_equation
from jaxinterp.tracing.graph import Graph, Site
from jaxinterp.tracing.select import select, select_one
from jaxinterp.tracing.selectors import where
from jaxinterp.tracing.with_rules import with_rules
from jaxinterp.types import ApplyFn, Images, Sites, Variables


@dataclasses.dataclass(frozen=True)
class Reader:
    """A model as an objective sees it: from images to activations and outputs.

    Attributes:
        apply_fn: the model.
        places: four entries for each site that is read: what the objective calls it,
            its address, the number of loops around it, whose steps `capture` stacks
            in front, and the axis of its channels.
        has_derivative: whether anything that is read depends on the images through
            floats alone, so that a gradient goes back to them.
        composite: the rules of the backward pass; `None` is the derivative.
    """

    apply_fn: ApplyFn
    places: tuple[tuple[Sites, str, int, int], ...]
    has_derivative: bool = True
    composite: Composite | None = None

    def __call__(
        self, variables: Variables, images: Images
    ) -> tuple[OrderedDict[Sites, Any], Any]:
        """Returns activations, images first and channels last, and outputs.

        What of the outputs does not have the images on the first axis, such as a loss
        or new batch statistics, is left out: `None` stands in its place.

        Args:
            variables: the weights of the model.
            images: the images, `(images, ...)`.

        Raises:
            ValueError: if a site does not have the images on its first axis.
        """
        addresses = {address for _, address, _, _ in self.places}
        model: ApplyFn = self.apply_fn
        if addresses:
            model = capture(model, where(lambda site: site.address in addresses))
        if self.composite is not None:
            model = with_rules(model, self.composite)
        outputs = model(variables, images)
        values: Mapping[str, Any] = {}
        if addresses:
            outputs, values = outputs
        count = images.shape[0]
        # Ordered, since JAX sorts the keys of others, which may be of several kinds.
        activations = OrderedDict(
            (name, in_order(address, values[address], loops, channels, count))
            for name, address, loops, channels in self.places
        )
        return activations, jax.tree.map(lambda o: if_of_images(o, count), outputs)


def reader(
    apply_fn: ApplyFn,
    objective: Objective,
    variables: Variables,
    image: jax.ShapeDtypeStruct,
) -> tuple[Reader, Shapes]:
    """Returns a model as an objective sees it, and the shapes of what it sees.

    Nothing is computed.

    Args:
        apply_fn: the model.
        objective: the objective, which names the sites that are read.
        variables: the weights of the model.
        image: shape and dtype of one image.

    Raises:
        AddressError: if a site does not exist.
        AmbiguousAddressError: if a name fits several sites.
        TypeError: if `variables` has something that is no array.
        ValueError: if a site does not have the images on its first axis.
        Exception: what the model raises, with a note that says which images it got.
    """
    check_variables(variables)
    # Two images, lest a site without an axis for them looks as if it had one.
    images = jax.ShapeDtypeStruct((2, *image.shape), image.dtype)
    try:
        graph = trace(apply_fn, variables, images)
    except Exception as error:
        error.add_note(
            f"The model got {images.dtype}{list(images.shape)}: two images of "
            f"shape {tuple(image.shape)}. If it takes others, give the parametrization "
            "their shape; images have the batch in front, and "
            "`jaxinterp.models.with_preprocess(apply_fn, preprocess)` makes a model of "
            "images of one that takes other inputs."
        )
        raise
    apply_fn = hashable(apply_fn)
    sites = [select_one(graph, name) for name in objective.sites]
    _warn_of_mixing(graph, sites)
    has_derivative = _has_derivative(graph, sites)
    model = Reader(apply_fn, _places(objective.sites, sites), has_derivative)
    activations, outputs = jax.eval_shape(model, variables, images)
    of_activations = {name: value.shape[1:] for name, value in activations.items()}
    of_outputs = jax.tree.map(lambda o: o.shape[1:], outputs)
    size = _bytes_until(graph, sites) // images.shape[0]
    return model, Shapes(of_activations, of_outputs, image.shape, size)


def site_reader(
    apply_fn: ApplyFn,
    variables: Variables,
    images: Images,
    sites: Sites,
    *,
    one: bool = False,
) -> Reader:
    """Returns what reads the activations at some sites.

    Args:
        apply_fn: the model.
        variables: the weights of the model.
        images: images, whose number does not matter.
        sites: an address, a glob or a selector of the sites.
        one: whether there has to be a single site.

    Raises:
        AddressError: if no site matches.
        AmbiguousAddressError: if several match where there has to be one.
    """
    inputs = jax.ShapeDtypeStruct((2, *images.shape[1:]), images.dtype)
    graph = trace(apply_fn, variables, inputs)
    matches = [select_one(graph, sites)] if one else select(graph, sites).values()
    names = [site.address for site in matches]
    return Reader(hashable(apply_fn), _places(names, matches))


def check_variables(variables: Variables) -> None:
    """Raises unless the variables of a model are arrays.

    Args:
        variables: the weights of the model.

    Raises:
        TypeError: if one is none; the message names the first.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        if not isinstance(leaf, jax.Array | np.ndarray | np.generic | int | float):
            raise TypeError(
                "`variables` are arrays, and "
                f"`variables{jax.tree_util.keystr(path)}` is {leaf!r}.\nOf an Equinox "
                "or NNX module, `jaxinterp.models.from_equinox(model)` or "
                "`jaxinterp.models.from_nnx(model)` make `apply_fn` and `variables`."
            )


def _places(
    names: Iterable[Sites], sites: Iterable[Site]
) -> tuple[tuple[Sites, str, int, int], ...]:
    return tuple(
        (name, site.address, len(site.length), site.channel_axis)
        for name, site in zip(names, sites, strict=True)
    )


def _has_derivative(graph: Graph, sites: list[Site]) -> bool:
    """Whether a gradient of any of the sites, or of the outputs, reaches the images."""
    flow = graph.flows[graph.program]
    pairs = [(site.node.flow, site.value) for site in sites]
    if not sites:
        pairs = [(flow, v) for v in graph.program.outputs if v in flow.active]
    return not pairs or any(
        flow.carrying is None or value in flow.carrying for flow, value in pairs
    )


def _bytes_until(graph: Graph, sites: list[Site]) -> int:
    """How large the outputs of all nodes are, up to the last of some sites."""
    missing, size = {site.address for site in sites}, 0
    for node in graph:
        size += sum(math.prod(o.shape) * o.dtype.itemsize for o in node.outputs)
        missing.discard(node.address)
        if sites and not missing:
            break
    return size


def _warn_of_mixing(graph: Graph, sites: list[Site]) -> None:
    """Warns if what is read of an image depends on the images beside it."""
    flow = graph.flows[graph.program]
    values: list[Any] = [
        site.value for site in sites if site.node.flow.program is graph.program
    ]
    if not sites:
        values = [v for v in graph.program.outputs if v in flow.active]
    for value in values:
        if value.shape[:1] != (2,):
            continue
        equation = mixing_equation(flow, value, 2)
        if equation is not None:
            warnings.warn(
                "The model computes of an image what depends on the images beside "
                f"it: `{equation.primitive}` takes them together, at\n"
                f"{equation.line}.\n"
                "No result is that of its image alone. Of a batch norm, use the "
                "stored statistics (`train=False`, `use_running_average=True`).",
                stacklevel=4,
            )
            return


def if_of_images(output: Any, count: int) -> Any:
    """Returns an output if its first axis is that of the examples, `None` otherwise.

    Args:
        output: one array of what a model returns.
        count: the number of examples.
    """
    return output if np.shape(output)[:1] == (count,) else None


def in_order(
    address: str, activation: Any, loops: int, channels: int, count: int
) -> Any:
    """Returns an activation with the examples first and the channels last.

    Args:
        address: the site's address, for the error.
        activation: what `capture` returns of the site.
        loops: the number of loops around the site, whose steps are stacked in front.
        channels: the axis of channels.
        count: the number of examples.

    Raises:
        ValueError: if the axis after those of the loops has another length.
    """
    if activation.ndim <= loops or activation.shape[loops] != count:
        raise ValueError(
            f"{address!r} is {activation.dtype}{list(activation.shape)} for {count} "
            f"images, whose axis {loops} should have length {count}.\n"
            "An objective needs a site with the examples on the first axis (after the "
            "steps of loops);\ntake the one before it, or move the axis in the model."
        )
    images_first = jnp.moveaxis(activation, loops, 0)
    # What has no more than the axis of examples has no channels.
    return (
        jnp.moveaxis(images_first, channels, -1) if channels > loops else images_first
    )
