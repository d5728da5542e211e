r"""Name maps: which tensor of a checkpoint belongs where in a model's variables.

A checkpoint is a flat dict of named arrays, and so is a model once the paths of its
variables are joined with slashes. A *name map* is a table between the two, one regular
expression a line:

    Entry(r"layer(\d)\.(\d)\.conv(\d)\.weight",
          r"params/layer\1_\2/conv\3/kernel", "oihw->hwio")

The first line that matches the whole name decides. Nothing is skipped silently: a
tensor that nobody knows, a place that nobody fills, one filled twice or with another
shape are all errors, and `fill` lists every one of them in a single message.
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
    """

    pattern: str
    path: str
    layout: str = ""
    convert: Convert | None = None


NameMap = tuple[Entry, ...]


class WeightsError(ValueError):
    """A checkpoint does not fit a model, or is no checkpoint that can be read."""


class _Problems:
    """What does not fit, by kind, in the order in which the message lists it."""

    def __init__(self) -> None:
        self.by_kind: dict[str, list[str]] = {}
        self.wrong_shapes: list[str] = []

    def add(self, kind: str, line: str) -> None:
        self.by_kind.setdefault(kind, []).append(line)

    def add_wrong_shape(self, path: str, line: str) -> None:
        self.wrong_shapes.append(path)
        self.add("Wrong shape", line)

    def has_wrong_shape(self, path: str) -> bool:
        """Whether what belongs at a path, or is split over it, has another shape."""
        return any(f"{path}/".startswith(f"{at}/") for at in self.wrong_shapes)

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
            shape, or not of a kind of number that the model needs; each is listed.
        ValueError: if a layout is no permutation.

    Example:
        >>> template = {"params": {"kernel": jax.ShapeDtypeStruct((3, 2), "float32")}}
        >>> name_map = (Entry("weight", "params/kernel", "oi->io"),)
        >>> tensors = {"weight": np.ones((2, 3), np.float16)}
        >>> kernel = fill(template, tensors, name_map, source="example")
        >>> kernel["params"]["kernel"].shape, str(kernel["params"]["kernel"].dtype)
        ((3, 2), 'float32')
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(template_variables)
    needed = {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in leaves
    }
    problems = _Problems()
    filled: dict[str, tuple[str, np.ndarray]] = {}
    for name, tensor in tensors.items():
        for path, array in _placed(name, tensor, name_map, problems):
            if path not in needed:
                problems.add(
                    "Surplus, the model has no such place", f"{name} -> {path}"
                )
            elif path in filled:
                problems.add(
                    "Doubled, two tensors for one place",
                    f"{filled[path][0]} and {name} -> {path}",
                )
            else:
                filled[path] = (name, array)
                _check(name, array, path, needed[path], problems)
    for path, leaf in needed.items():
        if path not in filled and not problems.has_wrong_shape(path):
            problems.add("Missing, no tensor fills", f"{path} {leaf.shape}")
    problems.raise_if_any(source)
    return jax.tree.unflatten(
        structure,
        [_cast(filled[path][1], leaf.dtype, dtype) for path, leaf in needed.items()],
    )


def _placed(
    name: str, tensor: np.ndarray, name_map: NameMap, problems: _Problems
) -> Iterator[tuple[str, np.ndarray]]:
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
        problems.add_wrong_shape(
            path, f"{name} {tensor.shape} -> {path}: {entry.layout} {error}"
        )
        return
    if isinstance(converted, Mapping):
        for suffix, array in converted.items():
            yield f"{path}/{suffix}", array
    else:
        yield path, converted


def _permutation(layout: str) -> list[int]:
    """Returns the order of axes that a layout such as `oihw->hwio` asks for."""
    old, arrow, new = layout.replace(" ", "").partition("->")
    if not arrow or len(set(old)) != len(old) or sorted(old) != sorted(new):
        raise ValueError(
            f"A layout names the axes before and after, such as 'oihw->hwio', and is "
            f"{layout!r}."
        )
    return [old.index(axis) for axis in new]


def _check(
    name: str, array: np.ndarray, path: str, leaf: Any, problems: _Problems
) -> None:
    if array.shape != leaf.shape:
        problems.add_wrong_shape(
            path, f"{name} -> {path}: found {array.shape}, needed {leaf.shape}"
        )
    if _is_floating(array.dtype) != _is_floating(leaf.dtype):
        problems.add(
            "Wrong kind of number",
            f"{name} -> {path}: found {array.dtype}, needed {leaf.dtype}",
        )


def _is_floating(dtype: Any) -> bool:
    # NumPy itself does not know that bfloat16 is a floating-point number.
    return jnp.issubdtype(dtype, jnp.floating)


def _cast(array: np.ndarray, needed: Any, asked: Any) -> jax.Array:
    keeps = asked is None or not _is_floating(needed)
    return jnp.asarray(array, needed if keeps else asked)
