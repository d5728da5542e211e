r"""Name maps: which tensor of a checkpoint goes where in the variables of a model.

A checkpoint is a flat dict of named arrays, and so is a model once the paths of its
variables are joined with slashes. A *name map* is a table from one to the other, with a
regular expression in each line:

    Entry(r"layer(\d)\.(\d)\.conv(\d)\.weight",
          r"params/layer\1_\2/conv\3/kernel", "oihw->hwio")

The first line that matches the whole name decides. Nothing is skipped silently: tensors
that no line matches, and variables that no tensor fills, that two fill, or that one of
another shape or with numbers that are not finite fills, are all errors, and `fill`
lists every one of them in a single message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Convert = Callable[[np.ndarray], np.ndarray | Mapping[str, np.ndarray]]

# How many problems of a kind are listed; a wrong architecture has hundreds.
_MAX_LINES = 20


class Entry(NamedTuple):
    r"""One line of a name map.

    The array is first permuted by `layout`, then passed to `convert`.

    Attributes:
        pattern: a regular expression that must match the whole name in the checkpoint.
        path: the path in `variables`, in which `\1` is a group of the pattern; `""` for
            a tensor that is not needed, such as `num_batches_tracked`.
        layout: how axes are permuted, such as `"oihw->hwio"`; `""` keeps them.
        convert: a function that changes the array further. It may return a dict from
            suffix to array: each array then goes to `path/suffix`, so that a fused
            query-key-value matrix can be split, or tied embeddings fill two variables.
        is_copy: whether another tensor may fill the same variable, such as the
            embedding that is tied to an unembedding. Both must then be equal.
    """

    pattern: str
    path: str
    layout: str = ""
    convert: Convert | None = None
    is_copy: bool = False


NameMap = tuple[Entry, ...]


class WeightsError(ValueError):
    """A checkpoint does not fit a model, or is no checkpoint that can be read."""


class _Problems:
    """All that does not fit, for one error message.

    Attributes:
        by_kind: for each kind of problem its lines, in the order of the message.
        paths: the paths in `variables` whose tensors do not fit.
    """

    def __init__(self) -> None:
        self.by_kind: dict[str, list[str]] = {}
        self.paths: list[str] = []

    def add(self, kind: str, line: str) -> None:
        self.by_kind.setdefault(kind, []).append(line)

    def add_at(self, path: str, line: str, kind: str = "Wrong shape") -> None:
        self.paths.append(path)
        self.add(kind, line)

    def is_listed(self, path: str) -> bool:
        """Whether a problem at a path, or at one above it, is listed already."""
        return any(f"{path}/".startswith(f"{at}/") for at in self.paths)

    def raise_if_any(self, source: str) -> None:
        if not self.by_kind:
            return
        lines = [f"The tensors of {source} do not fit the model."]
        for kind, problems in self.by_kind.items():
            lines.append(f"{kind} ({len(problems)}):")
            lines += [f"    {line}" for line in problems[:_MAX_LINES]]
            if len(problems) > _MAX_LINES:
                lines.append(f"    ... and {len(problems) - _MAX_LINES} more")
        lines.append(
            "Give the model the sizes of the checkpoint, or give a name map that fits: "
            "a tuple of `Entry(pattern, path, layout)`, where `Entry(pattern, '')` "
            "names tensors that are not needed."
        )
        raise WeightsError("\n".join(lines))


def fill(
    template_variables: Any,
    tensors: Mapping[str, np.ndarray],
    name_map: NameMap,
    *,
    source: str,
    dtype: Any = None,
) -> Any:
    """Puts the tensors of a checkpoint into the variables of a model.

    Args:
        template_variables: the variables of the model or their shapes, as
            `jax.eval_shape` of its `init` returns them.
        tensors: the arrays of the checkpoint by name.
        name_map: where each tensor goes.
        source: the name of the checkpoint, for error messages.
        dtype: the dtype of the floating-point arrays; by default that of the template,
            so that a float16 file fills a float32 model.

    Returns:
        The variables, in the structure of the template.

    Raises:
        WeightsError: if a tensor is unknown, missing, surplus, doubled, of another
            shape, not of the kind of number that the model needs, not finite, or too
            large for the dtype; each is listed. If a line of the name map is invalid.
        TypeError: if `name_map` is no sequence of `Entry`.
        ValueError: if `dtype` is no floating-point dtype that JAX has.

    Example:
        >>> template = {"params": {"kernel": jax.ShapeDtypeStruct((3, 2), "float32")}}
        >>> name_map = (Entry("weight", "params/kernel", "oi->io"),)
        >>> tensors = {"weight": np.ones((2, 3), np.float16)}
        >>> kernel = fill(template, tensors, name_map, source="example")
        >>> kernel["params"]["kernel"].shape, str(kernel["params"]["kernel"].dtype)
        ((3, 2), 'float32')
    """
    check_dtype(dtype)
    check_lines(name_map)
    leaves, structure = jax.tree_util.tree_flatten_with_path(template_variables)
    needed = {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in leaves
    }
    problems = _Problems()
    parts: dict[str, _Part] = {}
    for name, tensor in tensors.items():
        for part in _parts(name, tensor, name_map, needed, problems):
            path = part.path
            if path not in needed:
                problems.add("Surplus, the model has no such variable", part.where)
                continue
            part = _cast(part, needed[path], dtype, problems)
            if path in parts:
                _compare(parts[path], part, problems)
            else:
                parts[path] = part
    for path, leaf in needed.items():
        if path not in parts and not problems.is_listed(path):
            problems.add("Missing, no tensor fills", f"{path} {leaf.shape}")
    problems.raise_if_any(source)
    return jax.tree.unflatten(
        structure, [jnp.asarray(parts[path].array) for path in needed]
    )


def check_dtype(dtype: Any) -> None:
    """Raises if weights cannot have a dtype.

    Args:
        dtype: the dtype, or `None`.

    Raises:
        ValueError: if it is no floating-point dtype that JAX has.
    """
    if dtype is None:
        return
    try:
        number = jnp.dtype(dtype)
    except TypeError as error:
        raise ValueError(
            f"`dtype` is {dtype!r}, which is no dtype. Write `dtype=jnp.bfloat16`, or "
            "leave it out for that of the model."
        ) from error
    if _kind(number) is not jnp.floating:
        raise ValueError(
            f"`dtype` is that of the floating-point weights, and is {number}. Write "
            "`dtype=jnp.bfloat16`, or leave it out for that of the model."
        )
    if jax.dtypes.canonicalize_dtype(number) != number:
        raise ValueError(
            f"`dtype` is {number}, which JAX does not have unless you write "
            "`jax.config.update('jax_enable_x64', True)`."
        )


def check_lines(name_map: NameMap) -> None:
    """Raises if a name map cannot be read.

    Args:
        name_map: the lines of the map.

    Raises:
        TypeError: if it is no sequence of `Entry`.
        WeightsError: if a pattern, path or layout is invalid.
    """
    if isinstance(name_map, Entry):
        raise TypeError(
            f"`name_map` is a tuple of lines, and is a single one, {name_map}. Write "
            "`(Entry(...),)`."
        )
    for number, line in enumerate(name_map, start=1):
        if not isinstance(line, Entry):
            raise TypeError(
                f"Line {number} of the name map is no `Entry`, but {line!r}. Write "
                "`Entry(pattern, path, layout)`."
            )
        try:
            # A substitution checks its template, even if nothing matches.
            re.compile(line.pattern).sub(line.path, "")
            if line.layout:
                _permutation(line.layout)
        except (re.error, IndexError, ValueError) as error:
            raise WeightsError(
                f"Line {number} of the name map cannot be read: {error}.\n"
                f"    {line}\n"
                r"`pattern` is a regular expression, `path` has its groups as `\1`, "
                "and `layout` names the axes before and after, such as 'oihw->hwio'."
            ) from error


class _Part(NamedTuple):
    """A tensor of the checkpoint, or a part of one, and the variable that it fills.

    Attributes:
        name: the name of the tensor in the checkpoint.
        path: the path of the variable.
        array: what the variable becomes.
        is_copy: whether another tensor may fill the same variable.
    """

    name: str
    path: str
    array: np.ndarray
    is_copy: bool

    @property
    def where(self) -> str:
        return f"{self.name} -> {self.path}"


def _parts(
    name: str,
    tensor: np.ndarray,
    name_map: NameMap,
    needed: Mapping[str, Any],
    problems: _Problems,
) -> Iterator[_Part]:
    """Yields the parts of a tensor, each with the variable that it fills."""
    for entry in name_map:
        match = re.fullmatch(entry.pattern, name)
        if match is not None:
            break
    else:
        problems.add("Unknown, no line of the name map fits", f"{name} {tensor.shape}")
        return
    if not entry.path:
        return
    path = match.expand(entry.path)
    order = _permutation(entry.layout) if entry.layout else range(tensor.ndim)
    try:
        converted = tensor.transpose(order)
        if entry.convert is not None:
            converted = entry.convert(converted)
    except ValueError as error:  # the line is for another shape
        line = f"{name} {tensor.shape} -> {path}: {entry.layout} {error}"
        if path in needed:
            line += f", needed {needed[path].shape}"
        problems.add_at(path, line)
        return
    except Exception as error:  # the user's `convert` may raise anything
        cause = f"{type(error).__name__}: {error}"
        line = f"{name} {tensor.shape} -> {path}: {cause}"
        problems.add_at(path, line, "Failed, `convert` raised an error")
        return
    is_split = isinstance(converted, Mapping)
    parts = (
        {f"{path}/{suffix}": array for suffix, array in converted.items()}
        if is_split
        else {path: converted}
    )
    for path, array in parts.items():
        if isinstance(array, np.ndarray | np.generic | jax.Array):
            yield _Part(name, path, np.asarray(array), entry.is_copy)
        else:
            line = f"{name} {tensor.shape} -> {path}: found {type(array).__name__}"
            problems.add_at(path, line, "No array, which `convert` is to return")


def _permutation(layout: str) -> list[int]:
    """Returns the order of axes of a layout such as `oihw->hwio`."""
    old, arrow, new = layout.replace(" ", "").partition("->")
    if not arrow or len(set(old)) != len(old) or sorted(old) != sorted(new):
        raise ValueError(f"the layout {layout!r} is no permutation of axes")
    return [old.index(axis) for axis in new]


def _cast(part: _Part, leaf: Any, dtype: Any, problems: _Problems) -> _Part:
    """Returns a part in the dtype of its variable, and adds what does not fit."""
    array, where = part.array, part.where
    if array.shape != leaf.shape:
        problems.add_at(part.path, f"{where}: found {array.shape}, needed {leaf.shape}")
    kind = _kind(leaf.dtype)
    if _kind(array.dtype) is not kind:
        problems.add(
            "Wrong kind of number", f"{where}: found {array.dtype}, needed {leaf.dtype}"
        )
        return part
    is_default = dtype is None or kind is not jnp.floating
    dtype = jax.dtypes.canonicalize_dtype(leaf.dtype if is_default else dtype)
    with np.errstate(over="ignore"):
        cast = array.astype(dtype, copy=False)
    can_overflow = kind in (jnp.floating, jnp.complexfloating)
    if can_overflow and not (is_finite := np.isfinite(array)).all():
        n_invalid = array.size - np.count_nonzero(is_finite)
        problems.add(
            "NaN or infinite, which `convert=np.nan_to_num` would replace",
            f"{where}: {n_invalid} of {array.size} numbers",
        )
    elif not (np.isfinite(cast) if can_overflow else cast == array).all():
        problems.add(
            "Too large for the dtype; `dtype=` may be a wider one",
            f"{where}: found {array.min()} to {array.max()}, needed {dtype}",
        )
    return part._replace(array=cast)


def _compare(first: _Part, second: _Part, problems: _Problems) -> None:
    """Adds what does not fit if two tensors fill one variable."""
    line = f"{first.name} and {second.where}"
    if not (first.is_copy or second.is_copy):
        problems.add("Doubled, two tensors for one variable", line)
    elif not np.array_equal(first.array, second.array):
        problems.add(
            "Different, and the model has one variable for both; with `is_tied=False` "
            "it has two",
            line,
        )


# JAX's kinds: to NumPy, bfloat16 is no floating-point number.
_KINDS = (jnp.floating, jnp.complexfloating, jnp.integer, jnp.bool_)


def _kind(dtype: Any) -> Any:
    """Returns the kind of number of a dtype, `None` if it holds no numbers."""
    return next((kind for kind in _KINDS if jnp.issubdtype(dtype, kind)), None)
