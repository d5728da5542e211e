r"""Eigenvalue-corrected Kronecker factors: a curvature for networks of any size.

For the weights $W$ of an affine site the Gauss-Newton matrix is close to a Kronecker
product of $A = \mathbb E \sum_t a_t a_t^\top$ and $S = \mathbb E \sum_t s_t s_t^\top$.
With the eigenvectors $Q_A$ and $Q_S$ of the two, EK-FAC takes the matrix to be diagonal
in the basis $Q_A \otimes Q_S$, with the variances that gradients really have there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jaxinterp.checks import checked_integer
from jaxinterp.influence.affine_sites import (
    AffineSite,
    affine_sites,
    positions_of_results,
    probed,
    zero_changes,
)
from jaxinterp.influence.curvature import Solution
from jaxinterp.influence.training import (
    Parameters,
    Training,
    as_pair,
    check_rereadable,
    checked_vectors,
    chosen_paths,
    flat_parameters,
    multiply,
    offsets,
)
from jaxinterp.keys import check_key, each_folded, steady
from jaxinterp.loop.fast_scan import scan
from jaxinterp.loop.stream import check_stream, everywhere, first_invalid, over_stream
from jaxinterp.objectives.score import Score
from jaxinterp.pytree import pytree, static
from jaxinterp.tracing.call import trace_call
from jaxinterp.types import ApplyFn, Key, Variables


class Block(NamedTuple):
    r"""The curvature of the weights of one affine site.

    Attributes:
        entries: which parameter stands where in $W$, `(inputs, outputs)`; the last row
            is the bias, if there is one.
        input_basis: $Q_A$, the eigenvectors as columns.
        output_basis: $Q_S$, the eigenvectors as columns.
        eigenvalues: the sum over examples of the squares of gradients in this basis,
            $\sum_i (Q_A^\top\, dW_i\, Q_S)^2$, `(inputs, outputs)`.
    """

    entries: Any
    input_basis: Any
    output_basis: Any
    eigenvalues: Any


@pytree
class EkFac:
    """A Gauss-Newton matrix in the bases of its Kronecker factors.

    Attributes:
        blocks: the curvature of each affine site, by the path of its kernel.
        rest: the parameters of no such site, `(rest,)`.
        rest_eigenvalues: the sum over examples of the squares of their gradients: the
            diagonal of the matrix stands for them.
        n_examples: the number of examples.
        paths: the paths of the leaves of `variables` that are the parameters.
        diagonal_paths: the paths of those leaves that belong to no affine site.
    """

    blocks: dict[str, Block]
    rest: Any
    rest_eigenvalues: Any
    n_examples: Any
    paths: tuple[str, ...] = static()
    diagonal_paths: tuple[str, ...] = static()

    @property
    def size(self) -> int:
        """The number of parameters."""
        return sum(part.size for part in self._eigenvalues())

    @property
    def mean_eigenvalue(self) -> float:
        """The mean over all parameters; a tenth of it is a common damping."""
        parts = [block.eigenvalues for block in self.blocks.values()]
        parts = [
            np.asarray(part, np.float64) for part in (*parts, self.rest_eigenvalues)
        ]
        n_parameters = sum(part.size for part in parts)
        return float(sum(p.sum() for p in parts) / n_parameters / int(self.n_examples))

    def solve(self, vectors: Any, damping: float) -> Solution:
        """Returns the product of the inverse of the damped matrix with vectors.

        Args:
            vectors: the vectors, `(vectors, parameters)`.
            damping: what is added to each eigenvalue.

        Raises:
            ValueError: if the vectors have another length, or the damped matrix is not
                positive definite.
        """
        vectors = checked_vectors(vectors, self.size)
        n_examples = int(self.n_examples)
        result = jnp.zeros_like(vectors)
        parts = [*self.blocks.values()]
        eigenvalues = [
            np.asarray(part, np.float64).ravel() / n_examples
            for part in self._eigenvalues()
        ]
        smallest = min(part.min(initial=np.inf) for part in eigenvalues)
        largest = max(part.max(initial=0) for part in eigenvalues)
        # One below the rounding of the others may as well be 0.
        rounding = np.finfo(self.rest_eigenvalues.dtype).eps * largest
        if smallest + damping <= rounding:
            raise ValueError(
                f"The curvature has the eigenvalue {smallest:.3g}, and "
                f"with `damping={damping:g}` it is not positive definite. Write "
                f"`damping={0.1 * self.mean_eigenvalue:.1g}`, a tenth of the mean."
            )
        for entries, q_in, q_out, eigenvalues in parts:
            scale = (eigenvalues / n_examples + damping)[None]
            coordinates = _between(q_in.T, vectors[:, entries], q_out) / scale
            solution = _between(q_in, coordinates, q_out.T)
            result = result.at[:, entries].set(solution.astype(result.dtype))
        rest = (
            vectors[:, self.rest] / (self.rest_eigenvalues / n_examples + damping)[None]
        )
        return Solution(
            result.at[:, self.rest].set(rest.astype(result.dtype)), n_examples
        )

    def _eigenvalues(self) -> list[Any]:
        blocks = [block.eigenvalues for block in self.blocks.values()]
        return [*blocks, self.rest_eigenvalues]


@pytree
class _Factors:
    """The sums of the Kronecker factors of each site, after the first pass."""

    n_examples: Any
    by_path: dict[str, tuple[Any, Any]]


def ekfac(
    apply_fn: ApplyFn,
    loss: Score,
    variables: Variables,
    batches: Iterable[Any],
    *,
    samples: int | None = None,
    key: Key | None = None,
    parameters: Parameters = None,
    resume: EkFac | None = None,
    progress: bool = True,
) -> EkFac:
    r"""Computes the curvature by eigenvalue-corrected Kronecker factors.

    $$(G + \lambda I)^{-1} V = Q_A \frac{Q_A^\top V\, Q_S}{\Lambda + \lambda} Q_S^\top,
    \qquad \Lambda = \mathbb E\,(Q_A^\top\, dW\, Q_S)^2$$

    with the quotient and the square entry by entry. Dense and convolutional sites of
    any apply function are found by tracing it. Their inputs give $A$, and the gradients
    in their outputs $S$; $\Lambda$ is that of the gradient of a whole example, so
    weights that are used at several positions, or twice, are treated exactly there.
    Other parameters (scales of norms, embeddings, grouped convolutions, what lies in a
    loop) have a diagonal curvature; `diagonal_paths` names their leaves.

    The paper draws labels from the model. Their gradients have the covariance
    $\nabla_z^2 L$ in the outputs, and here the columns of a root of that matrix are
    used: all of them, without randomness, or `samples` random combinations.

    Of a single linear layer it is the Gauss-Newton matrix itself for squared error, and
    for other losses if $a$ is independent of $s$ over the data. Of several layers it
    leaves out how they act together. It is always positive semidefinite.

    Cost: two passes over the data, each with a forward and a backward pass for every
    output, or sample; then the eigenvectors of every factor. Memory for the gradients
    of one batch, one at a time.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        loss: the loss of each example, `loss(outputs, labels) -> (batch,)`, convex in
            the outputs.
        variables: the weights of the model.
        batches: pairs `(inputs, labels)`, the training data; they are read twice, so a
            generator will not do.
        samples: the number of random combinations for each example; by default all
            columns.
        key: the random key of the combinations; those of example `i` depend on it and
            `i` alone.
        parameters: globs on the paths of the leaves that are parameters, as in
            `hessian`.
        resume: the curvature of the examples before: its bases stay, and the new
            examples add to its eigenvalues in one pass.
        progress: whether to show a progress bar, if `batches` has a length.

    Returns:
        A curvature for `influence`, in the units of the loss per squared parameter.

    Raises:
        FloatingPointError: if a loss is not finite; the message names the example.
        TypeError: if a batch is no pair of arrays, `batches` can be read only once, or
            `samples` are given without a key.
        ValueError: if there is no example, a glob matches nothing, or `resume` is of
            other parameters.

    Example:
        >>> x, y = jnp.array([[1.0], [3.0]]), jnp.array([[0.0], [1.0]])
        >>> model = lambda w, x: x @ w
        >>> curvature = ekfac(model, ji.influence.squared_error, jnp.ones((1, 1)),
        ...                   [(x, y)])
        >>> solution = curvature.solve(jnp.ones((1, 1)), damping=0.0)
        >>> round(float(solution.vectors[0, 0]), 3)
        0.2

    References:
        George et al., 2018 [george2018fast]; Grosse et al., 2023 [grosse2023studying];
        Grosse and Martens, 2016 (convolutions) [grosse2016kronecker].
    """
    check_stream(batches)
    if samples is not None:
        samples = checked_integer("samples", samples, 1, call="ekfac")
        check_key("ekfac", key)
        key = steady(key)
    paths = chosen_paths(variables, parameters)
    passes = _Passes(Training.of(apply_fn, loss, paths), variables, samples, key)
    if resume is None:
        check_rereadable("ekfac", batches)
        factors = passes.run(batches, passes.factors_start, "factors" * progress)
        resume = passes.in_basis(factors, next(iter(batches)))
    else:
        _check_resume(resume, paths, flat_parameters(variables, paths).size)
    start = passes.eigenvalues_start(resume)
    return passes.run(batches, start, "eigenvalues" * progress)


def _check_resume(resume: Any, paths: tuple[str, ...], size: int) -> None:
    is_ours = isinstance(resume, EkFac)
    if not is_ours or (resume.paths, resume.size) != (paths, size):
        kind = (
            f"{resume.paths}, {resume.size} of them"
            if is_ours
            else type(resume).__name__
        )
        raise ValueError(
            "`resume` is what an earlier call of ekfac() returned for the same "
            f"parameters, {paths}, {size} of them, and is {kind}."
        )


@dataclasses.dataclass(frozen=True, eq=False)
class _Passes:
    """The two passes over the data."""

    training: Training
    variables: Any
    samples: int | None
    key: Any

    def run(self, batches: Any, start: Any, name: str) -> Any:
        return over_stream(
            *("ekfac", batches, start),
            constants=self.variables,
            invalid="not finite",
            name=name,
            is_tree=True,
        )

    def sites(self, inputs: Any) -> tuple[AffineSite, ...]:
        """The affine sites of the model, the first at which a leaf is used."""
        one = jax.tree.map(
            lambda a: jax.ShapeDtypeStruct((1, *a.shape[1:]), a.dtype), inputs
        )
        graph = trace_call(self.training.model, self.variables, one).graph
        first: dict[str, AffineSite] = {}
        kept = []
        for site in affine_sites(graph, self.training.paths):
            same = first.setdefault(site.kernel, site)
            is_alike = np.array_equal(same.kernel_entries, site.kernel_entries)
            if is_alike and same.bias == site.bias:
                kept.append(site)
        return tuple(kept)

    def roots(self, variables: Any, batch: Any, numbers: Any, count: Any) -> Any:
        """The columns of each example; zero for those that fill up a batch."""
        roots = jax.vmap(lambda x, y: self.training.roots(variables, x, y))(*batch)
        if self.samples is not None:
            shape = (self.samples, roots.shape[1])
            keys = each_folded(self.key, numbers)
            signs = jax.vmap(
                lambda key: jax.random.rademacher(key, shape, roots.dtype)
            )(keys)
            roots = multiply(signs, roots) / np.sqrt(self.samples).astype(roots.dtype)
        is_real = jnp.arange(roots.shape[0]) < count
        return jnp.where(is_real[:, None, None], roots, 0)

    def invalid(self, variables: Any, batch: Any, count: Any) -> Any:
        flat = flat_parameters(variables, self.training.paths)
        losses = self.training.losses(flat, variables, *batch)
        return first_invalid(~jnp.isfinite(losses)[None], count)

    # --- First pass: the factors ------------------------------------------------------

    def factors_start(self, batch: Any) -> tuple[Any, _Factors]:
        inputs, _ = as_pair("ekfac", batch)
        sites = self.sites(inputs)
        dtype = flat_parameters(self.variables, self.training.paths).dtype
        zeros = {}
        for site in sites:
            rows, columns = site.kernel_entries.shape
            rows += site.bias is not None
            zeros[site.kernel] = (
                jnp.zeros((rows, rows), dtype),
                jnp.zeros((columns, columns), dtype),
            )
        add = jax.jit(
            lambda *arrays: self._with_factors(sites, *arrays),
            out_shardings=everywhere(batch),
        )

        def update(state: _Factors, batch: Any, count: Any) -> tuple[_Factors, Any]:
            return add(state, self.variables, batch, count)

        return update, _Factors(jnp.zeros((), jnp.int32), zeros)

    def _with_factors(
        self,
        sites: tuple[AffineSite, ...],
        state: _Factors,
        variables: Any,
        batch: Any,
        count: Any,
    ) -> tuple[_Factors, Any]:
        size = jax.tree.leaves(batch)[0].shape[0]
        numbers = state.n_examples + jnp.arange(size)
        roots = self.roots(variables, batch, numbers, count)

        def of_example(x: Any, roots: Any, weight: Any) -> list[tuple[Any, Any]]:
            one = jax.tree.map(lambda leaf: leaf[None], x)
            traced = trace_call(self.training.model, variables, one)

            def run(changes: list[Any]) -> tuple[Any, list[Any]]:
                outputs, inputs = probed(traced, sites, changes)
                return ravel_pytree(outputs)[0], inputs

            zeros = zero_changes(traced, sites)
            outputs, pull, inputs = jax.vjp(run, zeros, has_aux=True)

            def body(total: list[Any], root: Any) -> tuple[list[Any], None]:
                (cotangents,) = pull(root.astype(outputs.dtype))
                rows = [
                    positions_of_results(traced, site, c).astype(total[0].dtype)
                    for site, c in zip(sites, cotangents, strict=True)
                ]
                return [
                    t + multiply(s.T, s) for t, s in zip(total, rows, strict=True)
                ], None

            empty = [
                jnp.zeros((site.kernel_entries.shape[1],) * 2, roots.dtype)
                for site in sites
            ]
            of_outputs = scan(body, empty, roots)[0] if sites else []
            wide = [a.astype(roots.dtype) for a in inputs]
            of_inputs = [weight * multiply(a.T, a) for a in wide]
            return list(zip(of_inputs, of_outputs, strict=True))

        weights = (jnp.arange(size) < count).astype(roots.dtype)
        parts = jax.vmap(of_example)(batch[0], roots, weights)
        sums = dict(state.by_path)
        for site, (a, s) in zip(sites, parts, strict=True):
            of_inputs, of_outputs = sums[site.kernel]
            sums[site.kernel] = of_inputs + a.sum(axis=0), of_outputs + s.sum(axis=0)
        invalid = self.invalid(variables, batch, count)
        return _Factors(state.n_examples + count, sums), invalid

    def in_basis(self, factors: _Factors, batch: Any) -> EkFac:
        """The curvature without eigenvalues, before the second pass."""
        paths = self.training.paths
        starts, flat = (
            offsets(self.variables, paths),
            flat_parameters(self.variables, paths),
        )
        blocks, is_rest = {}, np.ones(flat.size, bool)
        for site in self.sites(batch[0]):
            entries = starts[site.kernel] + site.kernel_entries
            if site.bias is not None:
                bias = starts[site.bias] + site.bias_entries
                entries = np.concatenate([entries, bias[None]])
            q_in, q_out = map(_eigenvectors, factors.by_path[site.kernel])
            zeros = jnp.zeros(entries.shape, flat.dtype)
            blocks[site.kernel] = Block(jnp.asarray(entries), q_in, q_out, zeros)
            is_rest[entries] = False
        rest = np.flatnonzero(is_rest)
        diagonal = tuple(p for p in paths if is_rest[starts[p]])
        zeros = jnp.zeros(rest.shape, flat.dtype)
        none = jnp.zeros((), jnp.int32)
        return EkFac(blocks, jnp.asarray(rest), zeros, none, paths, diagonal)

    # --- Second pass: the eigenvalues -------------------------------------------------

    def eigenvalues_start(self, before: EkFac) -> Any:
        def start(batch: Any) -> tuple[Any, EkFac]:
            as_pair("ekfac", batch)
            add = jax.jit(self._with_eigenvalues, out_shardings=everywhere(batch))

            def update(state: EkFac, batch: Any, count: Any) -> tuple[EkFac, Any]:
                return add(state, self.variables, batch, count)

            return update, before

        return start

    def _with_eigenvalues(
        self, state: EkFac, variables: Any, batch: Any, count: Any
    ) -> tuple[EkFac, Any]:
        size = jax.tree.leaves(batch)[0].shape[0]
        numbers = state.n_examples + jnp.arange(size)
        roots = self.roots(variables, batch, numbers, count)

        def add(total: Any, vectors: Any) -> Any:
            blocks, rest = total
            squares = {}
            for path, (entries, q_in, q_out, _) in state.blocks.items():
                coordinates = _between(q_in.T, vectors[:, entries], q_out)
                squares[path] = blocks[path] + (coordinates**2).sum(axis=0)
            return squares, rest + (vectors[:, state.rest] ** 2).sum(axis=0)

        eigenvalues = {path: block.eigenvalues for path, block in state.blocks.items()}
        total = eigenvalues, state.rest_eigenvalues
        eigenvalues, rest = self.training.over_columns(
            add, total, variables, batch, roots
        )
        blocks = {
            path: block._replace(eigenvalues=eigenvalues[path])
            for path, block in state.blocks.items()
        }
        n_examples = state.n_examples + count
        after = dataclasses.replace(
            state, blocks=blocks, rest_eigenvalues=rest, n_examples=n_examples
        )
        return after, self.invalid(variables, batch, count)


def _between(left: Any, matrices: Any, right: Any) -> Any:
    """The product of each matrix with two others, one on either side."""
    return multiply(multiply(left, matrices), right)


def _eigenvectors(factor: Any) -> Any:
    """The eigenvectors of a symmetric matrix as columns, found in double precision."""
    return jnp.asarray(np.linalg.eigh(np.asarray(factor, np.float64))[1], factor.dtype)
