r"""Name maps: which tensor of a checkpoint belongs where in a model's variables.

A checkpoint is a flat dict of named arrays, and so is a model once the paths of its
variables are joined with slashes. A *name map* is a table between the two, one regular
expression a line:

    Entry(r"layer(\d)\.(\d)\.conv(\d)\.weight",
          r"params/layer\1_\2/conv\3/kernel", "oihw->hwio")

The first line that matches the whole name decides. Nothing is skipped silently: a
tensor that nobody knows, a place that nobody fills, one filled twice, with another
shape, or with what is no finite number are all errors, and `fill` lists every one of
them in a single message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Convert = Callable[[np.ndarray], np.ndarray | Mapping[str, np.ndarray]]

# A wrong architecture makes hundreds of lines; this many of a kind show the pattern.
_LISTED = 20


class Entry(NamedTuple):
    r"""One line of a name map.

    The array is first permuted by `layout`, then passed to `convert`.

    Attributes:
        pattern: regular expression that must match the whole name in the checkpoint.
        path: template of the path in `variables`, its groups written `\1`; `""` is a
            tensor which is known and not needed, such as `num_batches_tracked`.
        layout: permutation of the axes, such as `"oihw->hwio"`; `""` keeps them.
        convert: any other change of the array. It may return a dict from suffix to
            array: each array then goes to `path/suffix`, which is how a fused
            query-key-value matrix is split, or tied embeddings fill two places.
        is_copy: whether another tensor may fill the same place, such as the embedding
            that is tied to an unembedding. Both must then be equal.
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
    """What does not fit, by kind, in the order in which the message lists it."""

    def __init__(self) -> None:
        self.by_kind: dict[str, list[str]] = {}
        self.places: list[str] = []

    def add(self, kind: str, line: str) -> None:
        self.by_kind.setdefault(kind, []).append(line)

    def add_at(self, path: str, line: str, kind: str = "Wrong shape") -> None:
        self.places.append(path)
        self.add(kind, line)

    def is_listed(self, path: str) -> bool:
        """Whether what belongs at a path, or is split over it, is listed already."""
        return any(f"{path}/".startswith(f"{at}/") for at in self.places)

    def raise_if_any(self, source: str) -> None:
        if not self.by_kind:
            return
        lines = [f"The tensors of {source} do not fit the model."]
        for kind, found in self.by_kind.items():
            lines.append(f"{kind} ({len(found)}):")
            lines += [f"    {line}" for line in found[:_LISTED]]
            if len(found) > _LISTED:
                lines.append(f"    ... and {len(found) - _LISTED} more")
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
    """Puts the tensors of a checkpoint where they belong in a model's variables.

    Args:
        template_variables: variables of the model or their shapes, as `jax.eval_shape`
            of its `init` gives them.
        tensors: arrays of the checkpoint by name.
        name_map: where each of them goes.
        source: what the checkpoint is called in an error.
        dtype: of the floating-point arrays; that of the template by default, so that a
            float16 file fills a float32 model.

    Returns:
        The variables, in the structure of the template.

    Raises:
        WeightsError: if a tensor is unknown, missing, surplus, doubled, of another
            shape, not of a kind of number that the model needs, not finite, or too
            large for the dtype; each is listed. If a line of the name map is broken.
        TypeError: if `name_map` is no sequence of `Entry`.
        ValueError: if `dtype` is not one of floating-point numbers that JAX has.

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
    filled: dict[str, _Placed] = {}
    for name, tensor in tensors.items():
        for found in _placed(name, tensor, name_map, problems):
            path = found.path
            if path not in needed:
                problems.add("Surplus, the model has no such place", found.where)
                continue
            found = _cast(found, needed[path], dtype, problems)
            if path in filled:
                _compare(filled[path], found, problems)
            else:
                filled[path] = found
    for path, leaf in needed.items():
        if path not in filled and not problems.is_listed(path):
            problems.add("Missing, no tensor fills", f"{path} {leaf.shape}")
    problems.raise_if_any(source)
    return jax.tree.unflatten(
        structure, [jnp.asarray(filled[path].array) for path in needed]
    )


def check_dtype(dtype: Any) -> None:
    """Raises if weights cannot be given a dtype.

    Args:
        dtype: the one that `fill` is asked for.

    Raises:
        ValueError: if it is not one of floating-point numbers that JAX has.
    """
    if dtype is None:
        return
    try:
        found = jnp.dtype(dtype)
    except TypeError as error:
        raise ValueError(
            f"`dtype` is {dtype!r}, which is no dtype. Write `dtype=jnp.bfloat16`, or "
            "leave it out for that of the model."
        ) from error
    if _kind(found) is not jnp.floating:
        raise ValueError(
            f"`dtype` is that of the floating-point weights, and is {found}. Write "
            "`dtype=jnp.bfloat16`, or leave it out for that of the model."
        )
    if jax.dtypes.canonicalize_dtype(found) != found:
        raise ValueError(
            f"`dtype` is {found}, which JAX does not have unless you write "
            "`jax.config.update('jax_enable_x64', True)`."
        )


def check_lines(name_map: NameMap) -> None:
    """Raises if a name map cannot be read.

    Args:
        name_map: the lines.

    Raises:
        TypeError: if it is no sequence of `Entry`.
        WeightsError: if a pattern, path or layout is broken.
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
            # A substitution reads its template, even if there is nothing to do.
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


class _Placed(NamedTuple):
    """A tensor, or a part of one, and the place that it goes to."""

    name: str
    path: str
    array: np.ndarray
    is_copy: bool

    @property
    def where(self) -> str:
        return f"{self.name} -> {self.path}"


def _placed(
    name: str, tensor: np.ndarray, name_map: NameMap, problems: _Problems
) -> Iterator[_Placed]:
    """Yields the paths that a tensor goes to, with what is to be stored there."""
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
    except ValueError as error:  # it was written for another shape
        problems.add_at(
            path, f"{name} {tensor.shape} -> {path}: {entry.layout} {error}"
        )
        return
    except Exception as error:  # `convert` is the user's, and all lines are listed
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
            yield _Placed(name, path, np.asarray(array), entry.is_copy)
        else:
            line = f"{name} {tensor.shape} -> {path}: found {type(array).__name__}"
            problems.add_at(path, line, "No array, which `convert` is to return")


def _permutation(layout: str) -> list[int]:
    """Returns the order of axes that a layout such as `oihw->hwio` asks for."""
    old, arrow, new = layout.replace(" ", "").partition("->")
    if not arrow or len(set(old)) != len(old) or sorted(old) != sorted(new):
        raise ValueError(f"the layout {layout!r} is no permutation of axes")
    return [old.index(axis) for axis in new]


def _cast(found: _Placed, leaf: Any, asked: Any, problems: _Problems) -> _Placed:
    """Returns what is placed in the dtype that it is to have, if it fits."""
    array, where = found.array, found.where
    if array.shape != leaf.shape:
        problems.add_at(
            found.path, f"{where}: found {array.shape}, needed {leaf.shape}"
        )
    kind = _kind(leaf.dtype)
    if _kind(array.dtype) is not kind:
        problems.add(
            "Wrong kind of number", f"{where}: found {array.dtype}, needed {leaf.dtype}"
        )
        return found
    wanted = leaf.dtype if asked is None or kind is not jnp.floating else asked
    dtype = jax.dtypes.canonicalize_dtype(wanted)
    with np.errstate(over="ignore"):
        cast = array.astype(dtype, copy=False)
    can_overflow = kind in (jnp.floating, jnp.complexfloating)
    if can_overflow and not (is_finite := np.isfinite(array)).all():
        count = array.size - np.count_nonzero(is_finite)
        problems.add(
            "NaN or infinite, which `convert=np.nan_to_num` would replace",
            f"{where}: {count} of {array.size} numbers",
        )
    elif not (np.isfinite(cast) if can_overflow else cast == array).all():
        problems.add(
            "Too large for the dtype, where `dtype=` may ask for a wider one",
            f"{where}: found {array.min()} to {array.max()}, needed {dtype}",
        )
    return found._replace(array=cast)


def _compare(first: _Placed, second: _Placed, problems: _Problems) -> None:
    """Notes what is wrong with two tensors for one place."""
    line = f"{first.name} and {second.where}"
    if not (first.is_copy or second.is_copy):
        problems.add("Doubled, two tensors for one place", line)
    elif not np.array_equal(first.array, second.array):
        problems.add(
            "Different, and the model has one place for both; one with `is_tied=False` "
            "has two",
            line,
        )


# JAX's names, as NumPy does not know that bfloat16 is a floating-point number.
_KINDS = (jnp.floating, jnp.complexfloating, jnp.integer, jnp.bool_)


def _kind(dtype: Any) -> Any:
    """Returns the kind of number of a dtype, `None` if it is none."""
    return next((kind for kind in _KINDS if jnp.issubdtype(dtype, kind)), None)
