"""What objectives need of a model: its shapes, and what it computes of pictures."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.loop.static import hashable
from jaxinterp.objectives.objective import Objective, Shapes, Where
from jaxinterp.rules.composite import Composite
from jaxinterp.tracing.call import trace
from jaxinterp.tracing.capture import capture
from jaxinterp.tracing.facts.batch_axis import mixing_equation
from jaxinterp.tracing.graph import Graph, Site
from jaxinterp.tracing.select import select, select_one
from jaxinterp.tracing.selectors import Selector, where
from jaxinterp.tracing.with_rules import with_rules
from jaxinterp.types import ApplyFn

Preprocess = Callable[[Any], Any]

Seen = tuple[dict[Where, Any], Any]


@dataclasses.dataclass(frozen=True)
class Reader:
    """A model as an objective sees it: from pictures to activations and outputs.

    Attributes:
        apply_fn: the model.
        preprocess: from pictures to inputs of the model; `None` if they are the same.
        places: what the objective calls each site that it reads, its address, and in
            how many loops it lies, whose steps `capture` stacks in front.
        composite: rules of the backward pass; `None` is the derivative.
    """

    apply_fn: ApplyFn
    preprocess: Preprocess | None
    places: tuple[tuple[Where, str, int], ...]
    composite: Composite | None = None

    def __call__(self, variables: Any, images: Any) -> Seen:
        """Returns activations, with the pictures on their first axis, and outputs.

        What of the outputs does not have the pictures on the first axis, such as a loss
        or new batch statistics, is left out: `None` stands in its place.

        Args:
            variables: the weights of the model.
            images: `(pictures, ...)`.

        Raises:
            ValueError: if a site does not have the pictures on its first axis.
        """
        inputs = images if self.preprocess is None else self.preprocess(images)
        wanted = {address for _, address, _ in self.places}
        model: ApplyFn = self.apply_fn
        if wanted:
            model = capture(model, where(lambda site: site.address in wanted))
        if self.composite is not None:
            model = with_rules(model, self.composite)
        outputs = model(variables, inputs)
        found: Mapping[str, Any] = {}
        if wanted:
            outputs, found = outputs
        count = images.shape[0]
        activations = {
            name: examples_first(address, found[address], loops, count)
            for name, address, loops in self.places
        }
        return activations, jax.tree.map(lambda o: if_of_examples(o, count), outputs)


def reader(
    apply_fn: ApplyFn,
    objective: Objective,
    variables: Any,
    image: jax.ShapeDtypeStruct,
    preprocess: Preprocess | None = None,
) -> tuple[Reader, Shapes]:
    """Returns a model as an objective sees it, and the shapes of what it sees.

    Nothing is computed.

    Args:
        apply_fn: the model.
        objective: which names sites.
        variables: the weights of the model.
        image: shape and dtype of one picture, as `preprocess` takes it.
        preprocess: from pictures to inputs of the model.

    Raises:
        AddressError: if a site does not exist.
        AmbiguousAddressError: if a name fits several sites.
        TypeError: if `variables` has something that is no array.
        ValueError: if a site does not have the pictures on its first axis.
        Exception: what the model or `preprocess` raises, with a note of what it was
            shown.
    """
    check_variables(variables)
    # Two pictures, lest a site without an axis for them looks as if it had one.
    pictures = jax.ShapeDtypeStruct((2, *image.shape), image.dtype)
    try:
        inputs = pictures
        if preprocess is not None:
            inputs = jax.eval_shape(preprocess, pictures)
        graph = trace(apply_fn, variables, inputs)
    except Exception as error:
        error.add_note(
            f"The model was shown {pictures.dtype}{list(pictures.shape)}: two pictures "
            f"of shape {tuple(image.shape)}. If it takes others, give the "
            "parametrization their shape; images have the batch in front, and "
            "`preprocess` makes inputs of the model of them."
        )
        raise
    sites = [select_one(graph, name) for name in objective.sites]
    places = [
        (name, site.address, len(site.length))
        for name, site in zip(objective.sites, sites, strict=True)
    ]
    _warn_of_mixing(graph, sites)
    read = Reader(apply_fn, hashable(preprocess), tuple(places))
    activations, outputs = jax.eval_shape(read, variables, pictures)
    one = {name: value.shape[1:] for name, value in activations.items()}
    of_outputs = jax.tree.map(lambda o: o.shape[1:], outputs)
    size = _bytes_until(graph, sites) // pictures.shape[0]
    return read, Shapes(one, of_outputs, image.shape, size)


def check_variables(variables: Any) -> None:
    """Raises unless the variables of a model are arrays.

    Args:
        variables: the weights of the model.

    Raises:
        TypeError: naming the first that is none.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        if not isinstance(leaf, jax.Array | np.ndarray | np.generic | int | float):
            raise TypeError(
                "`variables` are arrays, and "
                f"`variables{jax.tree_util.keystr(path)}` is {leaf!r}.\nOf an Equinox "
                "or NNX module, `jaxinterp.models.from_equinox(model)` or "
                "`jaxinterp.models.from_nnx(model)` make `apply_fn` and `variables`."
            )


def _bytes_until(graph: Graph, sites: list[Site]) -> int:
    """How large the outputs of all nodes are, up to the last of some sites."""
    left, size = {site.address for site in sites}, 0
    for node in graph:
        size += sum(math.prod(o.shape) * o.dtype.itemsize for o in node.outputs)
        left.discard(node.address)
        if sites and not left:
            break
    return size


def _warn_of_mixing(graph: Graph, sites: list[Site]) -> None:
    """Warns if what is read of a picture depends on the pictures beside it."""
    flow = graph.flows[graph.program]
    is_inside = [site.node.flow.program is not graph.program for site in sites]
    values: list[Any] = [
        site.value for site, inside in zip(sites, is_inside, strict=True) if not inside
    ]
    if not sites:
        values = [v for v in graph.program.outputs if v in flow.active]
    for value in values:
        if value.shape[:1] != (2,):
            continue
        equation = mixing_equation(flow, value, 2)
        if equation is not None:
            warnings.warn(
                "The model computes of a picture what depends on the pictures beside "
                f"it: `{equation.primitive}` takes them together, at\n"
                f"{equation.line}.\n"
                "No result is that of its picture alone. Of a batch norm, use the "
                "stored statistics (`train=False`, `use_running_average=True`).",
                stacklevel=4,
            )
            return


def if_of_examples(output: Any, count: int) -> Any:
    """Returns an output if its first axis is that of the examples, `None` otherwise.

    Args:
        output: one array of what a model returns.
        count: the number of examples.
    """
    return output if np.shape(output)[:1] == (count,) else None


def examples_first(address: str, activation: Any, loops: int, count: int) -> Any:
    """Returns an activation with the examples on its first axis.

    Args:
        address: the site's address, for the error.
        activation: what `capture` returns of the site.
        loops: how many loops the site lies in, whose steps are stacked in front.
        count: the number of examples.

    Raises:
        ValueError: if the axis after those of the loops has another length.
    """
    if activation.ndim <= loops or activation.shape[loops] != count:
        raise ValueError(
            f"{address!r} is {activation.dtype}{list(activation.shape)} for {count} "
            f"pictures, whose axis {loops} should have length {count}.\n"
            "An objective needs a site with the examples on the first axis (after the "
            "steps of loops);\ntake the one before it, or move the axis in the model."
        )
    return jnp.moveaxis(activation, loops, 0)


def site_reader(
    apply_fn: ApplyFn,
    variables: Any,
    images: Any,
    preprocess: Preprocess | None,
    sites: Selector | str,
    *,
    one: bool = False,
) -> Reader:
    """Returns what reads the activations at some sites.

    Args:
        apply_fn: the model.
        variables: of the model.
        images: pictures, whose first axis does not matter.
        preprocess: from pictures to inputs of the model.
        sites: an address, a glob or a selector.
        one: whether it is to be a single site.

    Raises:
        AddressError: if no site matches.
        AmbiguousAddressError: if several match where there is to be one.
    """
    inputs = jax.ShapeDtypeStruct((2, *images.shape[1:]), images.dtype)
    if preprocess is not None:
        inputs = jax.eval_shape(preprocess, inputs)
    graph = trace(apply_fn, variables, inputs)
    found = [select_one(graph, sites)] if one else select(graph, sites).values()
    places = tuple((site.address, site.address, len(site.length)) for site in found)
    return Reader(hashable(apply_fn), preprocess, places)
