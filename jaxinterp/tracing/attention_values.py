r"""What an attention head writes for each position that it reads.

Head $h$ adds $\sum_s \alpha_{hts} f_h(x_s)$ to the features of position $t$, where
$f_h(x_s)$ is the value of position $s$ times the part of the output projection that
belongs to the head. Between an attention matrix and what is added everything is linear:
matrices that read one position alone give $f_h$, however the layer is spelled.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import primitives as p

from jaxinterp.tracing.attention import (
    AttentionMatrix,
    has_other_activation,
    products,
    where,
)
from jaxinterp.tracing.facts.flow import Flow
from jaxinterp.tracing.facts.roles import KINDS, Kind
from jaxinterp.tracing.program.evaluate import evaluate_part
from jaxinterp.tracing.program.program import Value

# They are linear in a value, if the others that they read do not depend on it.
_LINEAR = frozenset(
    {
        *(Kind.ADDITIVE, Kind.MULTIPLICATIVE, Kind.NEGATION, Kind.CAST, Kind.CHOICE),
        *(Kind.LAYOUT, Kind.SUM),
    }
)
_ADVICE = "Write `weighting='weights'` for attention as it is."


@dataclasses.dataclass(frozen=True, eq=False)
class WrittenValues:
    """The equations from a matrix of attention to what its layer adds.

    Attributes:
        matrix: the matrix.
        equations: the indices of the equations, in order.
        output: what they compute: the output projection without its bias, or, if there
            is no projection, the product with the values.
        operands: what else they read.
    """

    matrix: AttentionMatrix
    equations: tuple[int, ...]
    output: Value
    operands: tuple[Value, ...]

    def norms(self, arrays: Mapping[Value, Any]) -> Any:
        r"""Returns the norm of $f_h(x_s)$, `(steps, batch, heads, source)`.

        Args:
            arrays: the arrays of `operands`, in a `scan` with those of all steps.
        """
        by_step = [jnp.reshape(arrays[v], (-1, *v.shape)) for v in self.operands]
        return jax.vmap(self._of_step)(by_step)

    def _of_step(self, arrays: list[Any]) -> Any:
        site = self.matrix.site
        program = site.node.flow.program
        operands = dict(zip(self.operands, arrays, strict=True))
        n_examples, n_heads, n_targets, n_sources = self.matrix.sizes

        def written(attention: Any) -> Any:
            env = {**program.constants, **operands, site.value: attention}
            return evaluate_part(program, self.equations, env)[self.output]

        def of_matrix(one: Any) -> Any:
            start = jnp.zeros(site.value.shape, site.value.dtype)
            return self._squares(jax.jvp(written, (start,), (one,))[1])

        def of_head(head: Any) -> Any:
            is_head = jax.nn.one_hot(head, n_heads, dtype=site.value.dtype)
            shape = (n_examples, n_heads, n_targets, n_sources)
            each = is_head[None, None, :, None, None] * rounds[:, None, None]
            each = jnp.broadcast_to(each, (len(rounds), *shape))
            squares = jax.vmap(lambda one: of_matrix(self.matrix.placed(one)))(each)
            return jnp.moveaxis(squares, 0, 1).reshape(n_examples, -1)[:, :n_sources]

        # Target t reads source t alone; then, if there are more, source n + t.
        n_rounds = -(-n_sources // n_targets)
        rounds = jnp.eye(n_rounds * n_targets, n_sources, dtype=site.value.dtype)
        rounds = rounds.reshape(n_rounds, n_targets, n_sources)
        squares = jnp.moveaxis(jax.vmap(of_head)(jnp.arange(n_heads)), 0, 1)
        is_zero = squares == 0  # where a root has no slope
        return jnp.where(is_zero, 0.0, jnp.sqrt(jnp.where(is_zero, 1.0, squares)))

    def _squares(self, output: Any) -> Any:
        """The sum of squares over all features of each target, `(batch, target)`."""
        names = self.matrix.names
        parts = [
            (part, part in self.matrix.targets)
            for name in names.of(self.output)
            for part in name
        ]
        examples = [i for i, (part, _) in enumerate(parts) if part is names.examples]
        targets = [i for i, (_, is_target) in enumerate(parts) if is_target]
        others = [i for i in range(len(parts)) if i not in (*examples, *targets)]
        wide = jnp.promote_types(output.dtype, jnp.float32)
        output = output.reshape([part.size for part, _ in parts]).astype(wide)
        output = jnp.transpose(output, (*examples, *targets, *others))
        n_examples, _, n_targets, _ = self.matrix.sizes
        return (output**2).reshape(n_examples, n_targets, -1).sum(-1)


def written_values(matrix: AttentionMatrix) -> WrittenValues:
    """Returns what a matrix of attention is multiplied with.

    Args:
        matrix: the matrix.

    Raises:
        ValueError: if it is multiplied with several values, or if what it makes of them
            goes through something that is not linear before it is added.
    """
    site = matrix.site
    flow = site.node.flow
    found = {
        equation.outputs[0]: way
        for equation, _, _, way in products(flow, site.value)
        if equation.primitive is p.dot_general_p
    }
    if len(found) != 1:
        raise ValueError(
            f"{where(site)}\nis multiplied with {len(found)} arrays of values, so that "
            f"no position has one.\n{_ADVICE}"
        )
    ((mixed, way),) = found.items()
    for index in way:
        _check_linear(matrix, index)
    after, output = _to_output(matrix, mixed)
    equations = (*way, flow.producer[mixed], *after)
    members = [flow.program.equations[i] for i in equations]
    known = {
        site.value,
        *flow.program.constants,
        *(o for e in members for o in e.outputs),
    }
    read = dict.fromkeys(v for e in members for v in e.values if v not in known)
    return WrittenValues(matrix, equations, output, tuple(read))


def _to_output(matrix: AttentionMatrix, mixed: Value) -> tuple[list[int], Value]:
    """The equations from the product with values to what is added, and that value."""
    flow = matrix.site.node.flow
    way, value = [], mixed
    while True:
        readers = {r for r in flow.readers.get(value, ()) if r >= 0} - flow.dead
        kinds = {KINDS.get(flow.program.equations[r].primitive) for r in readers}
        has_others = any(has_other_activation(flow, r, value) for r in readers)
        if not readers or (has_others and kinds == {Kind.ADDITIVE}):
            return way, value
        if len(readers) > 1 or has_others:
            raise ValueError(
                f"{where(matrix.site)}\nis multiplied with values, and the result is "
                "multiplied with other activations, or read by several operations, "
                f"before it is added.\n{_ADVICE}"
            )
        (index,) = readers
        equation = flow.program.equations[index]
        result = equation.outputs[0]
        is_product = equation.primitive is p.dot_general_p
        is_sum = is_product or KINDS.get(equation.primitive) is Kind.SUM
        parts = {part for name in matrix.names.of(result) for part in name}
        if is_sum and not parts.issuperset(matrix.targets):
            return way, value  # positions are added up: this is no projection
        if not is_product:
            _check_linear(matrix, index)
        way, value = [*way, index], result
        if is_product:
            return way, value


def _check_linear(matrix: AttentionMatrix, index: int) -> None:
    """Raises if an equation is not linear in the one activation that it reads."""
    flow: Flow = matrix.site.node.flow
    equation = flow.program.equations[index]
    kind = KINDS.get(equation.primitive)
    first, last = equation.inputs[0], equation.inputs[-1]
    is_active = isinstance(last, Value) and last in flow.active
    is_ratio = kind is Kind.DIVISION and not is_active
    is_square = kind is Kind.MULTIPLICATIVE and first is last
    if is_square or (kind not in _LINEAR and not is_ratio):
        raise ValueError(
            f"{where(matrix.site)}\nor what it makes of the values goes through "
            f"`{equation.primitive}` ({equation.line}), which is not linear: no value "
            f"has a share of its own in the result.\n{_ADVICE}"
        )
