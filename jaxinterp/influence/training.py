r"""A model, its loss and its parameters: what all estimates of influence differentiate.

Notation of this room: $L_i(\theta)$ is the loss of example $i$, $g_i = \nabla L_i$, and
$J(\theta) = \frac1n \sum_i L_i(\theta) + \frac{\lambda}{2} \lVert \theta \rVert^2$ is
what training made small. $\theta$ is one flat vector of the chosen leaves.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jaxinterp.checks import shown
from jaxinterp.loop.fast_scan import scan
from jaxinterp.objectives.explained import explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score
from jaxinterp.tracing.call import leaf_path
from jaxinterp.types import ApplyFn, Variables

# Products of vectors of parameters, in full precision on every device.
multiply = functools.partial(jnp.matmul, precision="highest")

# Which leaves of the variables are meant: a glob on their paths, or several.
Parameters = str | tuple[str, ...] | None


def chosen_paths(variables: Variables, parameters: Parameters) -> tuple[str, ...]:
    r"""Returns the paths of the leaves that $\theta$ consists of, such as `dense/w`.

    Args:
        variables: the weights of the model.
        parameters: globs on paths. By default all leaves of floating-point numbers; of
            variables with a collection `params`, as Flax's, those of it alone, since
            running statistics were not trained.

    Raises:
        ValueError: if there is no glob, or one matches no leaf of floating-point
            numbers.

    Example:
        >>> weights = {"params": {"w": jnp.ones(2)}, "batch_stats": {"m": jnp.ones(2)}}
        >>> chosen_paths(weights, None), chosen_paths(weights, "*m")
        (('params/w',), ('batch_stats/m',))
    """
    paths = [
        leaf_path(path)
        for path, leaf in jax.tree.leaves_with_path(variables)
        if jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
    ]
    if parameters is None:
        has_collection = isinstance(variables, Mapping) and "params" in variables
        parameters = "params/*" if has_collection else "*"
    globs = (parameters,) if isinstance(parameters, str) else tuple(parameters)
    if not globs:
        raise ValueError(
            "`parameters` names no leaf. Write for example `parameters='head/*'`."
        )
    for glob in globs:
        if not fnmatch.filter(paths, glob):
            raise ValueError(
                f"`parameters` matches no leaf of floating-point numbers: {glob!r}. "
                f"There are: {', '.join(paths[:20]) or 'none'}."
            )
    return tuple(p for p in paths if any(fnmatch.fnmatchcase(p, g) for g in globs))


def flat_parameters(variables: Variables, paths: tuple[str, ...]) -> Any:
    """Returns the chosen leaves as one vector, in single precision at least.

    Args:
        variables: the weights of the model.
        paths: the paths of the chosen leaves.

    Raises:
        ValueError: if there is no such leaf.
    """
    named = dict(_chosen(variables, paths))
    if missing := [path for path in paths if path not in named]:
        there = [leaf_path(path) for path, _ in jax.tree.leaves_with_path(variables)]
        raise ValueError(
            f"The weights have no leaf {missing[0]!r}, of which the curvature or an "
            f"earlier result is. There are: {', '.join(there[:20]) or 'none'}.\nGive "
            "the weights of the same model."
        )
    leaves = list(named.values())  # in the order of the tree, as `offsets` has them
    dtype = jnp.result_type(*leaves, jnp.float32)
    return jnp.concatenate([jnp.ravel(leaf).astype(dtype) for leaf in leaves])


def checked_vectors(vectors: Any, size: int) -> Any:
    """Returns vectors of parameters as an array.

    Args:
        vectors: the vectors that a curvature is to be solved for.
        size: the number of parameters of the curvature.

    Raises:
        ValueError: if they are not `(vectors, size)`.
    """
    vectors = jnp.asarray(vectors)
    if vectors.ndim != 2 or vectors.shape[1] != size:
        raise ValueError(
            f"A curvature of {size} parameters is solved for vectors (vectors, {size}),"
            f" and was given {vectors.shape}.\nTake the curvature of the same model "
            "and weights; of one vector write `vectors[None]`."
        )
    return vectors


def offsets(variables: Variables, paths: tuple[str, ...]) -> dict[str, int]:
    """Returns where each chosen leaf starts in the vector of all of them.

    Args:
        variables: the weights of the model.
        paths: the paths of the chosen leaves.
    """
    leaves = _chosen(variables, paths)
    starts = np.cumsum([0, *(jnp.size(leaf) for _, leaf in leaves)])
    return {path: int(at) for (path, _), at in zip(leaves, starts, strict=False)}


def with_parameters(variables: Variables, paths: tuple[str, ...], flat: Any) -> Any:
    """Returns variables whose chosen leaves are taken from a vector.

    Args:
        variables: the weights of the model.
        paths: the paths of the chosen leaves.
        flat: a vector like that of `flat_parameters`.
    """
    starts = offsets(variables, paths)

    def leaf_at(path: Any, leaf: Any) -> Any:
        start = starts.get(leaf_path(path))
        if start is None:
            return leaf
        part = flat[start : start + jnp.size(leaf)]
        return part.reshape(jnp.shape(leaf)).astype(jnp.result_type(leaf))

    return jax.tree_util.tree_map_with_path(leaf_at, variables)


def _chosen(variables: Variables, paths: tuple[str, ...]) -> list[tuple[str, Any]]:
    leaves = jax.tree.leaves_with_path(variables)
    named = [(leaf_path(path), leaf) for path, leaf in leaves]
    return [(path, leaf) for path, leaf in named if path in set(paths)]


def as_pair(call: str, batch: Any) -> tuple[Any, Any]:
    """Returns the inputs and the labels of a batch.

    Args:
        call: the name of the function that was called.
        batch: a pair `(inputs, labels)`.

    Raises:
        TypeError: if it is no pair.
    """
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise TypeError(
            f"{call}() takes examples as pairs, `(inputs, labels)`, and was given "
            f"{shown(batch)}. Write `[(inputs, labels)]` for one batch of examples."
        )
    return batch[0], batch[1]


def checked_queries(call: str, queries: Any) -> tuple[Any, Any]:
    """Returns the inputs and the labels of the examples to be explained.

    Args:
        call: the name of the function that was called.
        queries: a pair `(inputs, labels)`.

    Raises:
        TypeError: if it is no pair of arrays.
        ValueError: if there is no query, or inputs and labels disagree on the number.
    """
    inputs, labels = as_pair(call, queries)
    leaves = jax.tree.leaves((inputs, labels))
    if not all(isinstance(a, jax.Array | np.ndarray) and a.ndim for a in leaves):
        raise TypeError(
            f"{call}: `queries` are a pair of arrays with one row for each query, and "
            f"are {shown((inputs, labels))}. Write `jnp.asarray(...)` around each."
        )
    sizes = [leaf.shape[0] for leaf in leaves]
    if len(set(sizes)) > 1 or not all(sizes):
        raise ValueError(
            f"{call}: `queries` have one row of inputs and one label for each query, "
            f"and at least one; these have {' and '.join(map(str, sizes))} rows."
        )
    return inputs, labels


def check_query_gradients(call: str, vectors: Any) -> None:
    """Raises if what is measured of a query has no finite gradient.

    Args:
        call: the name of the function that was called.
        vectors: the gradient of each query, `(queries, parameters)`.

    Raises:
        FloatingPointError: if a gradient is not finite; the message names the query.
    """
    is_wrong = np.asarray(~jnp.isfinite(vectors).all(axis=1))
    if is_wrong.any():
        raise FloatingPointError(
            f"{call}: the gradient of query {is_wrong.argmax()} is not finite.\nLook "
            "whether its inputs are, and whether its label is one of the model's."
        )


@dataclasses.dataclass(frozen=True)
class Training:
    """The loss of a model as a function of its parameters.

    Attributes:
        model: the model, `(variables, inputs) -> outputs`.
        loss: a function of outputs and labels, `(batch,)`.
        paths: the paths of the chosen leaves.
    """

    model: ApplyFn
    loss: Callable[[Any, Any], Any]
    paths: tuple[str, ...]

    @classmethod
    def of(
        cls, apply_fn: ApplyFn, loss: Score | Objective | str, paths: tuple[str, ...]
    ) -> Training:
        """Returns the loss of a model, or another number that it gives per example.

        Args:
            apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
            loss: a score or an objective.
            paths: the paths of the chosen leaves.

        Raises:
            TypeError: if `loss` is neither.
        """
        model, score = explained(apply_fn, loss)
        return cls(model, score, paths)

    def losses(self, flat: Any, variables: Any, inputs: Any, labels: Any) -> Any:
        """Returns the loss of each example, `(batch,)`.

        Args:
            flat: the parameters as one vector.
            variables: the weights of the model, for all other leaves.
            inputs: the inputs of a batch.
            labels: the labels of a batch.

        Raises:
            ValueError: if the loss is not one number per example.
        """
        count = jax.tree.leaves(inputs)[0].shape[0]
        variables = with_parameters(variables, self.paths, flat)
        losses = self.loss(self.model(variables, inputs), labels)
        if jnp.shape(losses) != (count,):
            raise ValueError(
                f"The loss must be one number per example, ({count},), and is "
                f"{jnp.shape(losses)}. Write `loss(outputs, labels) -> (batch,)`, "
                "without the mean over the batch."
            )
        return losses

    def gradients(self, variables: Any, inputs: Any, labels: Any) -> Any:
        """Returns the gradient of the loss of each example, `(batch, parameters)`.

        Args:
            variables: the weights of the model.
            inputs: the inputs of a batch.
            labels: the labels of a batch.
        """

        def loss(flat: Any, x: Any, y: Any) -> Any:
            x, y = jax.tree.map(lambda leaf: leaf[None], (x, y))
            return self.losses(flat, variables, x, y)[0]

        flat = flat_parameters(variables, self.paths)
        return jax.vmap(jax.grad(loss), (None, 0, 0))(flat, inputs, labels)

    # --- Curvature of the loss in the outputs -----------------------------------------

    def outputs(self, flat: Any, variables: Any, x: Any) -> Any:
        """Returns the outputs for one example as one vector.

        Args:
            flat: the parameters as one vector.
            variables: the weights of the model, for all other leaves.
            x: the inputs of the example, without the axis of the batch.
        """
        outputs = self.model(
            with_parameters(variables, self.paths, flat),
            jax.tree.map(lambda leaf: leaf[None], x),
        )
        return ravel_pytree(outputs)[0]

    def roots(self, variables: Any, x: Any, y: Any) -> Any:
        r"""Returns columns $\ell_c$ with $\sum_c \ell_c \ell_c^\top = \nabla_z^2 L$.

        $z$ are the outputs for one example. Where the loss is the negative logarithm of
        a probability of the exponential family, this is the covariance of $\nabla_z L$
        over labels that are drawn from the model. Negative curvature is left out: a
        loss is meant to be convex in the outputs.

        Args:
            variables: the weights of the model.
            x: the inputs of the example, without the axis of the batch.
            y: the label of the example.

        Returns:
            One row for each column, `(outputs, outputs)`.
        """
        outputs = self.model(variables, jax.tree.map(lambda leaf: leaf[None], x))
        flat, unravel = ravel_pytree(outputs)
        wide = flat.astype(jnp.promote_types(flat.dtype, jnp.float32))
        label = jax.tree.map(lambda leaf: leaf[None], y)

        def loss(z: Any) -> Any:
            return self.loss(unravel(z.astype(flat.dtype)), label)[0]

        values, vectors = jnp.linalg.eigh(jax.hessian(loss)(wide))
        return (vectors * jnp.sqrt(jnp.maximum(values, 0))[None]).T

    def over_columns(
        self,
        add: Callable[[Any, Any], Any],
        total: Any,
        variables: Any,
        batch: Any,
        roots: Any,
    ) -> Any:
        r"""Carries a state over the vectors that make up the Gauss-Newton matrix.

        For column $c$ these are $J_i^\top \ell_{ic}$ for each example $i$ of a batch;
        the sum of their outer products is the matrix.

        Args:
            add: a function of the state and the vectors of one column,
                `(batch, parameters)`, that returns the next state.
            total: the first state.
            variables: the weights of the model.
            batch: the inputs and the labels.
            roots: the columns of each example, `(batch, columns, outputs)`.
        """
        flat = flat_parameters(variables, self.paths)

        def vector(x: Any, root: Any) -> Any:
            outputs, pull = jax.vjp(lambda f: self.outputs(f, variables, x), flat)
            return pull(root.astype(outputs.dtype))[0]

        def body(total: Any, column: Any) -> tuple[Any, None]:
            return add(total, jax.vmap(vector)(batch[0], column)), None

        return scan(body, total, jnp.moveaxis(roots, 1, 0))[0]


def check_rereadable(call: str, batches: Iterable[Any]) -> None:
    """Raises if a stream can be read only once.

    Args:
        call: the name of the function that was called.
        batches: the stream.

    Raises:
        TypeError: if it is a generator or another iterator.
    """
    if iter(batches) is batches:
        raise TypeError(
            f"{call}() reads the examples several times, and a generator is empty "
            "after the first.\nPass a list, or an object whose `__iter__` starts anew."
        )
