"""The logit lens, and what each part of a network adds to a logit directly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax.extend.core import primitives as p

from jaxinterp.mechanistic.parts import Divided, Places, as_pairs, divided_sites
from jaxinterp.mechanistic.patching import by_part
from jaxinterp.objectives.explained import explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, check_score, logit
from jaxinterp.pytree import pytree
from jaxinterp.tracing.by_address import ByAddress
from jaxinterp.tracing.call import trace_call
from jaxinterp.tracing.capture import capture
from jaxinterp.tracing.facts.roles import Role
from jaxinterp.tracing.graph import Graph
from jaxinterp.tracing.program.evaluate import Changes
from jaxinterp.tracing.program.program import Value
from jaxinterp.tracing.selectors import as_selector
from jaxinterp.tracing.split import split
from jaxinterp.types import ApplyFn, Inputs, Sites, Target, Variables

# --- The logit lens -------------------------------------------------------------------


def logit_lens(
    apply_fn: ApplyFn, *, sites: Sites, last: Sites | None = None
) -> Callable[[Variables, Inputs], ByAddress]:
    r"""Reads each state of a residual stream as if it were the last one.

    $$\mathrm{lens}(h_l) = \mathrm{LN}(h_l)\,W_U + b_U$$

    The state after block $l$ takes the place of the last one, and what comes after it,
    a norm with statistics of its own and the unembedding, runs on it. So the lens of
    the last state is the output of the model.

    Cost: a run, and what comes after the last state once for each site. Under `jit`
    only that. Outputs that are not needed cost memory: give a model that returns the
    last position alone, `lambda v, x: apply_fn(v, x)[:, -1]`.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        sites: the states of the stream: an address, a glob or a selector, such as
            `"blocks_*/residual"`.
        last: the address of the last state; by default the last of `sites`.

    Returns:
        A function of the variables and the inputs, that returns by address what the
        model returns.

    Raises:
        AddressError: when called, if no site matches.
        ValueError: when called, if a state has another shape than the last one, or is
            in a loop.

    Example:
        >>> def model(w, x):
        ...     with jax.named_scope("stream"):
        ...         x = x + w
        ...     with jax.named_scope("block/stream"):
        ...         x = x + jnp.sin(x)
        ...     return 2 * x
        >>> read = logit_lens(model, sites="*stream")(1.0, jnp.zeros((1, 1)))
        >>> {site: round(float(logits[0, 0]), 3) for site, logits in read.items()}
        {'stream': 2.0, 'block/stream': 3.683}

    References:
        nostalgebraist, 2020 [nostalgebraist2020interpreting]; Belrose et al., 2023, on
        the logit lens [belrose2023eliciting].
    """
    as_selector(sites)
    if last is not None:
        as_selector(last)

    def lens(variables: Variables, inputs: Inputs) -> ByAddress:
        _, states = capture(apply_fn, sites)(variables, inputs)
        target = list(states)[-1] if last is None else last
        encode, decode = split(apply_fn, target)
        expected = jax.eval_shape(encode, variables, inputs)
        for address, state in states.items():
            if state.shape != expected.shape:
                raise ValueError(
                    f"The activation at {address!r} has the shape {state.shape}, and "
                    f"the last state, at {str(target)!r}, {expected.shape}.\nName the "
                    "states of the residual stream alone, as `sites=`, or another "
                    "`last=`."
                )
        arrays, structure = jax.tree.flatten(states)
        stacked = jnp.stack([array.astype(expected.dtype) for array in arrays])
        outputs = jax.vmap(lambda h: decode(variables, h, inputs))(stacked)
        of_site = [
            jax.tree.map(lambda y, i=i: y[i], outputs) for i in range(len(arrays))
        ]
        return jax.tree.unflatten(structure, of_site)

    return lens


# --- Direct attribution ---------------------------------------------------------------


@pytree
class DirectAttribution:
    """What each part adds to a score directly.

    Attributes:
        contributions: by address, what each part adds to the score of each example,
            `(batch, *axes)`.
        bias: what is left of the score without any part, `(batch,)`: the biases of the
            last norm and of the unembedding, and what reaches the outputs around all
            parts.
        score: the score of each example, `(batch,)`.
    """

    contributions: ByAddress
    bias: Any
    score: Any

    @property
    def residual(self) -> Any:
        """What contributions and bias add up to beyond the score, `(batch,)`.

        It is 0 but for rounding if the score is linear in the outputs, and these in the
        last state of the stream once the scale of the norm is fixed.
        """
        leaves = jax.tree.leaves(self.contributions)
        total = sum(leaf.sum(axis=tuple(range(1, leaf.ndim))) for leaf in leaves)
        return total + self.bias - self.score


class AttributeDirectly(Protocol):
    """A function that says what each part adds to a score directly."""

    def __call__(
        self, variables: Variables, inputs: Inputs, target: Target = None
    ) -> DirectAttribution:
        """Returns what each part adds to the score of each example."""
        ...


def direct_logit_attribution(
    apply_fn: ApplyFn,
    *,
    components: Places,
    score: Score | Objective | str = logit,
) -> AttributeDirectly:
    r"""Says what each part of a network adds to a logit directly.

    $$c_u = z_u \cdot \frac{\partial m}{\partial z_u}, \qquad
      m(x) = \sum_u c_u + \mathrm{bias}$$

    The derivative goes from the outputs to the part along the paths that pass no other
    component, and takes the scale of norms, $1 / \sigma$, for a constant: so it is the
    weight with which the part enters the logit. The score should be linear in the
    outputs, a logit or a difference of logits. No weights have to be folded or
    centered, and any network will do whose components add up to what its outputs are
    read from. Cost: two runs and a backward pass.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        components: the sites of what is added to the stream: an address, a glob or a
            selector, several of them, or a mapping from these to the axes along which
            activations are divided, such as `{"residual": None,
            "blocks_*/attention/heads": 2, "blocks_*/mlp": None}`. A bias that heads
            share (that of `attention/out`) is then part of `bias`.
        score: which number per example is explained: a score of the outputs, or an
            objective.

    Returns:
        A function of the variables, the inputs and the target, that returns
        `DirectAttribution`, in units of `score`.

    Raises:
        AddressError: when called, if no site matches.
        TypeError: if `score` is no function, or axes are no integers.
        ValueError: when called, if a site is in a loop, or an axis does not exist.

    Example:
        >>> from jaxinterp.objectives import total
        >>> def model(w, x):
        ...     embedding = x @ w["embed"]
        ...     return embedding + jnp.tanh(embedding) @ w["mlp"] + 1.0
        >>> w = {"embed": jnp.array([[2.0]]), "mlp": jnp.array([[0.0]])}
        >>> attribute = direct_logit_attribution(
        ...     model, components=["embed", "mlp"], score=total)
        >>> result = attribute(w, jnp.ones((1, 1)))
        >>> result.contributions["embed"].tolist(), result.bias.tolist()
        ([2.0], [1.0])

    References:
        Wang et al., 2022, on name movers [wang2022interpretability]; Elhage et al.,
        2021, on the direct path [elhage2021mathematical].
    """
    model, score_fn = explained(apply_fn, score)
    pairs = as_pairs("components", components)

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None
    ) -> DirectAttribution:
        traced = trace_call(model, variables, inputs)
        n_examples = jax.tree.leaves(inputs)[0].shape[0]
        parts = divided_sites(traced.graph, pairs, n_examples)
        values = [part.value for part in parts]
        scales = norm_scales(traced.graph, frozenset(values))
        outputs, arrays = traced.run(Changes(captures=scales.union(values)))
        check_score(score_fn(outputs, target), n_examples, score_fn)

        def frozen(activations: list[Any]) -> Any:
            constants = {scale: arrays[scale] for scale in scales}
            constants |= dict(zip(values, activations, strict=True))
            edits = {v: lambda _, array=array: array for v, array in constants.items()}
            outputs, _ = traced.run(Changes(edits=edits))
            return score_fn(outputs, target)

        activations = [arrays[value] for value in values]
        scores, pull = jax.vjp(frozen, activations)
        (slopes,) = pull(jnp.ones_like(scores))
        rows = [
            _contributions(part, activation, slope)
            for part, activation, slope in zip(parts, activations, slopes, strict=True)
        ]
        bias = frozen([jnp.zeros_like(activation) for activation in activations])
        return DirectAttribution(by_part(parts, rows), bias, scores)

    return attribute


def _contributions(part: Divided, activation: Any, slope: Any) -> Any:
    wide = jnp.promote_types(activation.dtype, jnp.float32)
    return part.of_parts(activation.astype(wide) * slope.astype(wide))


def norm_scales(graph: Graph, values: frozenset[Value]) -> frozenset[Value]:
    """Returns the values in norms that are a scale: a root, or one over it.

    Args:
        graph: the traced model.
        values: values that are given; scales among them are left out.
    """
    return frozenset(
        output
        for node in graph.nodes
        if node.role is Role.NORMALIZATION and node.flow.program is graph.program
        for equation in node.members
        if equation.primitive in (p.rsqrt_p, p.sqrt_p, p.pow_p)
        for output in equation.outputs
    ).difference(values)
