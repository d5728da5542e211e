"""`load`: a model with trained weights, from the catalog or from a file."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxinterp.models.adapters import from_linen
from jaxinterp.models.summary import shapes
from jaxinterp.models.weights.catalog import CATALOG, Architecture
from jaxinterp.models.weights.check_outputs import check_outputs
from jaxinterp.models.weights.hub import check_sha256, fetch, verify
from jaxinterp.models.weights.name_map import (
    Entry,
    NameMap,
    WeightsError,
    check_dtype,
    check_lines,
    fill,
)
from jaxinterp.models.weights.readers import arrays_of, is_index, read_tensors
from jaxinterp.types import ApplyFn, Inputs, Variables

# Variables of our own models are saved under their paths.
_OWN_NAMES: NameMap = (Entry(r"(.+)", r"\1"),)


class Loaded(NamedTuple):
    """A model with trained weights, and what its inputs and outputs mean.

    Attributes:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        variables: the trained weights of the model.
        preprocess: a function from images or tokens to inputs of the model; `None` if
            there is none.
        class_names: the name of the class of each output, if that is known.
    """

    apply_fn: ApplyFn
    variables: Variables
    preprocess: Callable[[Any], Any] | None
    class_names: tuple[str, ...] | None


def load(
    name_or_path: str | os.PathLike[str] | Mapping[str, Any],
    *,
    model: Any = None,
    name_map: NameMap | Callable[[Any], NameMap] | str | None = None,
    inputs: Any = None,
    preprocess: Callable[[Any], Any] | None = None,
    class_names: Sequence[str] | os.PathLike[str] | None = None,
    download: bool = False,
    revision: str | None = None,
    sha256: str | None = None,
    dtype: Any = None,
    check: tuple[Inputs, Any] | None = None,
) -> Loaded:
    """Loads a model with trained weights.

    `load("resnet18", download=True)` gets a checkpoint of the catalog from the Hugging
    Face hub; without `download` only the cache of the hub is read. `load(path,
    model="resnet18")` reads a file of yours, in any format of `read_tensors`.
    `load(path, model=module, name_map=...)` reads it into a linen module of yours. In
    place of the path may stand the arrays themselves, such as a `state_dict`.

    No file of the hub was read while this package was written. The name maps were
    compared with the networks of torchvision, timm and transformers, with random
    weights. Repository and preprocessing of `resnet18` to `resnet101`, `vgg*`,
    `convnext_tiny` and `vit_b16` are those that timm states; those of `resnet50_hf`,
    `vit_b16_hf`, `gpt2`, `bert` and `tinyllama` are written from memory. All are read
    at `main`, which their owners may change: for results that last, give `revision` and
    `sha256`. A file whose tensors do not fit is an error.

    Args:
        name_or_path: a name of the catalog, the path of a checkpoint, or a mapping from
            the names of tensors to arrays, of PyTorch or any other library.
        model: for a path or a mapping, the architecture: a name of the catalog or a
            linen module.
        name_map: where each tensor goes: a name map, a function from the module to one,
            or the name of an entry of the catalog, whose map is then used with your
            module. By default the map of the entry; for a module of yours, tensors are
            named by the paths of its variables, joined with slashes.
        inputs: a batch or its `jax.ShapeDtypeStruct`, from which the shapes of the
            variables follow; needed for a module of yours, since an entry of the
            catalog has its own.
        preprocess: a function from images or tokens to inputs of the model. By default
            that of the entry of the catalog; `None` for a module of yours, also if an
            entry's `name_map` is used, since its weights may need other inputs.
        class_names: the name of each class, or the path of a text file with one name in
            each line. Those of ImageNet are not part of this package.
        download: whether the file may be downloaded from the hub; otherwise the network
            is not used.
        revision: for a file of the hub, the commit, tag or branch of its repository;
            only a commit is always the same file.
        sha256: the checksum that the file must have; for a file of the hub, by default
            the one that the hub states. A checkpoint of several files has none.
        dtype: the dtype of the weights; by default that of the model, whatever the
            dtype of the file.
        check: a batch as the model takes it, and the outputs that the original model
            computes of this batch; the loaded model must compute the same. Shapes
            alone do not show weights in a wrong order, such as those that follow a
            flattening of PyTorch (see `weights.channels_last`).

    Returns:
        Apply function, variables, preprocessing and names of classes.

    Raises:
        ValueError: if the name is empty or unknown, arguments contradict one another,
            or the number of class names is not that of the outputs, or `dtype` is no
            floating-point dtype that JAX has, or `sha256` is no checksum of a single
            file, or `check` is no pair of inputs and outputs that the model has.
        TypeError: if `name_map` is no sequence of `Entry`.
        WeightsError: if the checkpoint cannot be read, does not fit the model (each
            tensor that does not fit is listed, and the name of the catalog that fits),
            or has another checksum, or if a line of the name map is invalid, or if the
            loaded model does not compute the outputs in `check`, up to 0.001 of the
            largest (0.05 in half precision).
        FileNotFoundError: if there is no such file, or it is not in the cache.
        ConnectionError: if the download fails.
        ImportError: if the package that reads this format is not installed.

    Example:
        >>> import pathlib, tempfile
        >>> import flax.linen as nn
        >>> path = pathlib.Path(tempfile.mkdtemp(), "weights.npz")
        >>> np.savez(path, weight=np.ones((2, 3)), bias=np.zeros(2))
        >>> name_map = (ji.models.weights.Entry("weight", "params/kernel", "oi->io"),
        ...             ji.models.weights.Entry("bias", "params/bias"))
        >>> inputs = jnp.ones((1, 3), jnp.float32)
        >>> loaded = load(path, model=nn.Dense(2), name_map=name_map, inputs=inputs)
        >>> loaded.apply_fn(loaded.variables, inputs).tolist()
        [[3.0, 3.0]]
    """
    check_dtype(dtype)
    check_sha256(sha256)
    architecture = _architecture(name_or_path, model, inputs)
    _check_pair(check, architecture.inputs)
    if name_map is None:
        name_map = architecture.name_map
    elif isinstance(name_map, str):
        name_map = _entry(name_map).name_map
    if callable(name_map):
        name_map = name_map(architecture.module)
    check_lines(name_map)
    if isinstance(name_or_path, Mapping):
        _check_no_file(download, revision, sha256)
        tensors, source = arrays_of(name_or_path), "the mapping of arrays"
    else:
        path = _file(name_or_path, model, architecture, download, revision, sha256)
        tensors, source = read_tensors(path), str(path)
    variables = _filled(architecture, name_map, tensors, source, dtype, model)
    apply_fn, variables = from_linen(architecture.module, variables)
    names = architecture.class_names if class_names is None else _names(class_names)
    if names is not None:
        _check_names(names, apply_fn, variables, architecture.inputs)
    if check is not None:
        check_outputs(apply_fn, variables, *check, source=source)
    return Loaded(apply_fn, variables, preprocess or architecture.preprocess, names)


def _architecture(name_or_path: Any, model: Any, inputs: Any) -> Architecture:
    """Returns the entry of the catalog, or one for a module of the user."""
    if isinstance(name_or_path, Mapping):
        if model is None:
            raise ValueError(
                "A mapping of arrays does not say of which model they are. Write "
                '`load(state_dict, model="resnet18")`, with a name of the catalog, or '
                "give a linen module and a name map."
            )
    elif not str(name_or_path):
        raise ValueError(
            "`name_or_path` is empty. Write a name of the catalog, "
            '`load("resnet18", download=True)`, or the path of a checkpoint.'
        )
    if model is None:
        if Path(str(name_or_path)).exists() and str(name_or_path) not in CATALOG:
            raise ValueError(
                f"{name_or_path} is a checkpoint, and does not say of which model. "
                'Write `load(path, model="resnet18")`, with a name of the catalog, or '
                "give a linen module and a name map."
            )
        model = str(name_or_path)
    if isinstance(model, str):
        entry = _entry(model)
        return entry if inputs is None else entry._replace(inputs=inputs)
    if inputs is None:
        raise ValueError(
            "With a module of your own, `inputs` must be given, from which the shapes "
            "of its variables follow: `load(..., inputs=jax.ShapeDtypeStruct((1, 224, "
            "224, 3), jnp.float32))`."
        )
    return Architecture(model, inputs, _OWN_NAMES)


def _check_no_file(download: bool, revision: str | None, sha256: str | None) -> None:
    if download or revision is not None or sha256 is not None:
        raise ValueError(
            "`download`, `revision` and `sha256` go with a file, and the arrays "
            "themselves were given. Leave them out."
        )


def _file(
    name_or_path: str | os.PathLike[str],
    model: Any,
    architecture: Architecture,
    download: bool,
    revision: str | None,
    sha256: str | None,
) -> Path:
    """Returns the file of an entry of the catalog, or that of the user, verified."""
    if model is None:
        return _downloaded(str(name_or_path), architecture, download, revision, sha256)
    return _own_file(Path(name_or_path), download, revision, sha256)


def _downloaded(
    name: str,
    architecture: Architecture,
    download: bool,
    revision: str | None,
    sha256: str | None,
) -> Path:
    """Returns the file of an entry of the catalog, verified."""
    if architecture.hub is None:
        raise ValueError(
            f"The weights of {name!r} are on no hub; they are {architecture.origin}. "
            f"Give the file: `load(path, model={name!r})`."
        )
    file = architecture.hub
    if revision is not None:
        file = file._replace(revision=revision)
    return fetch(file, download=download, sha256=sha256)


def _own_file(
    path: Path, download: bool, revision: str | None, sha256: str | None
) -> Path:
    """Returns the path of a file of the user, verified."""
    if download or revision is not None:
        raise ValueError(
            f"`download=True` and `revision` go with a name of the catalog, and {path} "
            "with `model=...` is read as a path."
        )
    if not path.exists():
        raise FileNotFoundError(f"There is no file and no folder at {path}.")
    if sha256 is not None:
        if path.is_dir() or is_index(path):
            raise ValueError(
                f"`sha256` verifies a single file, and {path} stands for several. "
                "Verify each of them, and leave `sha256` out."
            )
        verify(path, sha256)
    return path


def _entry(name: str) -> Architecture:
    if name in CATALOG:
        return CATALOG[name]
    nearest = difflib.get_close_matches(name, CATALOG, n=3)
    hint = f" Is it {' or '.join(map(repr, nearest))}?" if nearest else ""
    raise ValueError(
        f"There is no file {name!r}, and no model of that name.{hint} The catalog "
        f"has: {', '.join(CATALOG)}."
    )


def _filled(
    architecture: Architecture,
    name_map: NameMap,
    tensors: Mapping[str, np.ndarray],
    source: str,
    dtype: Any,
    model: Any,
) -> Variables:
    """Returns the variables of a checkpoint; names the entry that fits if one does."""
    template = shapes(architecture.module, architecture.inputs)
    try:
        return fill(template, tensors, name_map, source=source, dtype=dtype)
    except WeightsError as error:
        names = _names_that_fit(tensors) if isinstance(model, str) else ()
        if not names:
            raise
        raise WeightsError(
            f"{error}\nThe file fits {' and '.join(map(repr, names))}, and was read as "
            f"{model!r}."
        ) from None


def _names_that_fit(tensors: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Returns the names of the catalog whose model the tensors fill."""
    return tuple(name for name in CATALOG if _fits(CATALOG[name], tensors))


def _fits(architecture: Architecture, tensors: Mapping[str, np.ndarray]) -> bool:
    name_map = architecture.name_map
    if callable(name_map):
        name_map = name_map(architecture.module)
    patterns = [re.compile(line.pattern) for line in name_map]
    # Shapes take long to compute, and the names rule out most of the catalog.
    if not all(any(p.fullmatch(name) for p in patterns) for name in tensors):
        return False
    template = shapes(architecture.module, architecture.inputs)
    try:
        fill(template, tensors, name_map, source=architecture.origin)
    except WeightsError:
        return False
    return True


def _check_pair(check: Any, expected: Inputs) -> None:
    """Raises if `check` is no pair, or its images have the channels first."""
    if check is None:
        return
    if not (isinstance(check, tuple | list) and len(check) == 2):
        raise ValueError(
            "`check` is a pair of a batch and what the original model computes of it, "
            f"and is a {type(check).__name__}. Write `check=(inputs, outputs)`."
        )
    shape = getattr(check[0], "shape", ())[1:]
    needed = getattr(expected, "shape", ())[1:]
    if shape != needed and (*shape[1:], *shape[:1]) == needed:
        raise ValueError(
            f"The inputs in `check=(inputs, outputs)` have the shape {shape} after the "
            f"batch, and the model takes {needed}, with the channels last. Write "
            "`np.moveaxis(inputs, 1, -1)`."
        )


def _names(names: Sequence[str] | os.PathLike[str]) -> tuple[str, ...]:
    if isinstance(names, str | os.PathLike):
        return tuple(Path(names).read_text("utf-8-sig").rstrip().splitlines())
    return tuple(names)


def _check_names(
    names: tuple[str, ...], apply_fn: ApplyFn, variables: Variables, inputs: Inputs
) -> None:
    outputs = jax.eval_shape(apply_fn, variables, inputs)
    if getattr(outputs, "ndim", 0) != 2 or outputs.shape[-1] != len(names):
        raise ValueError(
            f"There are {len(names)} class names, and the outputs of the model have "
            f"shape {getattr(outputs, 'shape', outputs)}."
        )
