"""Readers: a checkpoint of any common format as a dict of named NumPy arrays.

The format of a file is told by its content and never by its suffix: `.bin` is the
suffix of PyTorch and of llama2.c, `.h5` has three layouts. Names are those in the file,
parts of a nested name joined with slashes. Only name maps know about models.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors

from jaxinterp.models.weights import llama2c
from jaxinterp.models.weights.name_map import WeightsError
from jaxinterp.models.weights.pickled_module import pickled_module

_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
# PyTorch before 1.6 wrote pickles; the first of them is this number.
_OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_INDEX = "model.safetensors.index.json"
_TORCH_INDEX = "pytorch_model.bin.index.json"
_TORCH_FILE = "pytorch_model.bin"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# The keys under which training scripts keep the weights, beside epoch and optimizer.
_STATE_KEYS = ("state_dict", "model_state_dict", "model")

# The names of dtypes in safetensors. JAX defines bfloat16 and float8, which NumPy
# lacks.
_SAFETENSORS_DTYPES: Mapping[str, Any] = {
    "BOOL": np.bool_,
    "U8": np.uint8,
    "I8": np.int8,
    "U16": np.uint16,
    "I16": np.int16,
    "U32": np.uint32,
    "I32": np.int32,
    "U64": np.uint64,
    "I64": np.int64,
    "F16": np.float16,
    "BF16": jnp.bfloat16,
    "F32": np.float32,
    "F64": np.float64,
    "F8_E4M3": jnp.float8_e4m3fn,
    "F8_E5M2": jnp.float8_e5m2,
}

# Dtypes that NumPy lacks, with integers of the same size.
_TORCH_DTYPES: Mapping[str, tuple[str, Any]] = {
    "torch.bfloat16": ("int16", jnp.bfloat16),
    "torch.float8_e4m3fn": ("uint8", jnp.float8_e4m3fn),
    "torch.float8_e5m2": ("uint8", jnp.float8_e5m2),
}

_FORMATS = (
    "safetensors and a PyTorch state_dict (both also sharded), Keras .h5, .weights.h5 "
    "and .keras, .npz, an Orbax folder, and llama2.c version 0"
)


def read_tensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads all tensors of a checkpoint.

    Formats: safetensors, a PyTorch `state_dict` (needs `torch`; loaded with
    `weights_only=True`, so that no code in it runs), either also as the index or folder
    of a sharded one; Keras' `.h5`, `.weights.h5` and `.keras` (need `h5py`; the state
    of the optimizer is left out), `.npz`, the folder of an Orbax checkpoint, and
    llama2.c's version 0. The package for a format is imported when a file has that
    format. The whole checkpoint is held in memory. If all names begin with `module.`,
    as those of PyTorch's `DataParallel` do, it is removed.

    Args:
        path: the path of a file or folder.

    Returns:
        The arrays by name, in the layout, order and dtype of the file.

    Raises:
        FileNotFoundError: if there is no file and no folder at `path`.
        WeightsError: if the file is truncated, damaged, or of no known format, or if an
            index and its shards disagree.
        ImportError: if the package that reads this format is not installed.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp(), "weights.npz")
        >>> np.savez(path, **{"dense/kernel": np.ones((2, 3))})
        >>> read_tensors(path)["dense/kernel"].shape
        (2, 3)
    """
    path = Path(path)
    if path.is_dir():
        return _without_prefix(_read_folder(path))
    if not path.is_file():
        raise FileNotFoundError(f"There is no file and no folder at {path}.")
    return _without_prefix(_read_index(path) if is_index(path) else _read_file(path))


def arrays_of(state: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Returns the tensors of a mapping that is in memory, such as a `state_dict`.

    Args:
        state: arrays of any library by name.

    Raises:
        WeightsError: if a value is no array; the message names it.

    Example:
        >>> arrays_of({"module.bias": jnp.zeros(2)})["bias"].shape
        (2,)
    """
    tensors = {}
    for name, value in state.items():
        if not (hasattr(value, "shape") and hasattr(value, "dtype")):
            raise WeightsError(
                f"{name!r} in the mapping of arrays is a {type(value).__name__}, no "
                "array. The nested variables of a linen module need no loading: write "
                "`jaxinterp.models.from_linen(module, variables)`."
            )
        if hasattr(value, "detach"):
            place, torch = Path("the mapping"), sys.modules["torch"]
            tensors[name] = _from_torch(torch, place, name, value.cpu())
        else:
            tensors[name] = np.asarray(value)
    return _without_prefix(tensors)


def is_index(path: Path) -> bool:
    """Whether a file is JSON, and so the index of a sharded checkpoint.

    Args:
        path: the path of a file or folder.
    """
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(32)
    # Safetensors and llama2.c begin with an integer, whose first byte may be a brace;
    # but zeros follow it, and there are none in JSON.
    return head.removeprefix(_BYTE_ORDER_MARK).startswith(b"{") and b"\0" not in head


def _without_prefix(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Removes the prefix of PyTorch's `DataParallel`."""
    if not all(name.startswith("module.") for name in tensors):
        return tensors
    return {name.removeprefix("module."): array for name, array in tensors.items()}


def _read_file(path: Path) -> dict[str, np.ndarray]:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(32)
    if head.startswith(_HDF5):
        return _read_hdf5(path, path)
    if head.startswith(_ZIP):
        return _read_zip(path)
    if head.startswith(_OLD_TORCH):
        return _read_torch(path)
    header = llama2c.read_header(head)
    if header is not None and llama2c.n_bytes(header) == size:
        return llama2c.read(path, header)
    # Safetensors begin with eight bytes, the length of the JSON that follows.
    if head[8:9] == b"{":
        return _read_safetensors(path)
    raise WeightsError(
        f"{path} ({size} bytes) is no checkpoint that can be read, or a truncated one; "
        f"it begins with {head[:16]!r}. Known are {_FORMATS}."
    )


# --- safetensors ----------------------------------------------------------------------


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    tensors = {}
    with _reading(path, "safetensors"):
        for name, tensor in safetensors.deserialize(path.read_bytes()):
            if tensor["dtype"] not in _SAFETENSORS_DTYPES:
                raise WeightsError(
                    f"{path}: the tensor {name!r} has dtype {tensor['dtype']}. Known "
                    f"are {', '.join(_SAFETENSORS_DTYPES)}."
                )
            dtype = _SAFETENSORS_DTYPES[tensor["dtype"]]
            array = np.frombuffer(tensor["data"], dtype)
            tensors[name] = array.reshape(tensor["shape"])
    return tensors


# --- shards and folders ---------------------------------------------------------------


def _read_index(path: Path) -> dict[str, np.ndarray]:
    """Reads a sharded checkpoint, whose index says which file has which tensor."""
    shard_of = _weight_map(path)
    tensors: dict[str, np.ndarray] = {}
    problems: list[str] = []
    for shard in sorted(set(shard_of.values())):
        if not (path.parent / shard).is_file():
            raise FileNotFoundError(
                f"{path} names the shard {shard}, which is not beside it."
            )
        shard_tensors = _read_file(path.parent / shard)
        listed = {name for name, where in shard_of.items() if where == shard}
        missing = listed - shard_tensors.keys()
        problems += [f"{name} is not in {shard}" for name in missing]
        for name in shard_tensors.keys() - listed:
            other = shard_of.get(name)
            reason = f"belongs into {other}" if other else "is not in the index"
            problems.append(f"{name} is in {shard} and {reason}")
        tensors |= shard_tensors
    if problems:
        raise WeightsError(
            f"{path} and its shards disagree about {len(problems)} tensors: "
            f"{'; '.join(sorted(problems)[:20])}. Download all of them again."
        )
    return tensors


def _weight_map(path: Path) -> dict[str, str]:
    """Returns, for each tensor, the file that has it."""
    with _reading(path, "index of a sharded checkpoint"):
        index = json.loads(path.read_text("utf-8-sig"))
        weight_map = index.get("weight_map")
        if isinstance(weight_map, dict) and weight_map:
            shards = weight_map.values()
            if all(isinstance(shard, str) for shard in shards):
                return weight_map
    raise WeightsError(
        f"{path} is JSON and no index of a sharded checkpoint: its `weight_map` is to "
        f"be a dict from tensor to file, and is {str(weight_map)[:80]}. Give the file "
        "of the weights, or their folder."
    )


def _read_folder(path: Path) -> dict[str, np.ndarray]:
    if (path / _INDEX).is_file():
        return _read_index(path / _INDEX)
    files = sorted(path.glob("*.safetensors"))
    if len(files) == 1:
        return _read_safetensors(files[0])
    if (path / _TORCH_INDEX).is_file():
        return _read_index(path / _TORCH_INDEX)
    if (path / _TORCH_FILE).is_file():
        return _read_file(path / _TORCH_FILE)
    if (path / "_METADATA").is_file():
        return _read_orbax(path)
    if (path / "default" / "_METADATA").is_file():  # as a CheckpointManager writes it
        return _read_orbax(path / "default")
    raise WeightsError(
        f"The folder {path} is no checkpoint: it has neither {_INDEX} or "
        f"{_TORCH_INDEX}, nor one .safetensors file (found {len(files)}), nor "
        f"{_TORCH_FILE}, nor the _METADATA of Orbax."
    )


def _read_orbax(path: Path) -> dict[str, np.ndarray]:
    ocp = _imported("orbax.checkpoint", path, "orbax-checkpoint")
    with _reading(path, "Orbax"), ocp.PyTreeCheckpointer() as checkpointer:
        tree = checkpointer.metadata(path.resolve()).item_metadata.tree
        as_numpy = jax.tree.map(
            lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree
        )
        restored = checkpointer.restore(path.resolve(), restore_args=as_numpy)
    return {
        jax.tree_util.keystr(names, simple=True, separator="/"): np.asarray(leaf)
        for names, leaf in jax.tree.leaves_with_path(restored)
    }


# --- zip files: npz, PyTorch, .keras --------------------------------------------------


def _read_zip(path: Path) -> dict[str, np.ndarray]:
    weights = None
    with (
        _reading(path, "zip file (npz, PyTorch or .keras)"),
        zipfile.ZipFile(path) as archive,
    ):
        names = archive.namelist()
        if "model.weights.h5" in names:
            weights = io.BytesIO(archive.read("model.weights.h5"))
    if weights is not None:
        return _read_hdf5(path, weights)
    if any(name.endswith("data.pkl") for name in names):
        return _read_torch(path)
    if names and all(name.endswith(".npy") for name in names):
        return _read_npz(path)
    raise WeightsError(
        f"{path} is a zip file of {len(names)} files ({', '.join(names[:5])}), and "
        f"none of those that can be read. Known are {_FORMATS}."
    )


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    with _reading(path, "npz"), np.load(path, allow_pickle=False) as archive:
        tensors = {name: archive[name] for name in archive.files}
    return {name: _named_dtype(path, name, array) for name, array in tensors.items()}


def _named_dtype(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    """Returns an array in its own dtype, if NumPy stored only the size of an entry."""
    if array.dtype == np.dtype("V2"):  # bfloat16 is the only such dtype of two bytes
        return array.view(jnp.bfloat16)
    if array.dtype.kind == "V":
        raise WeightsError(
            f"{path}: NumPy did not store the dtype of the tensor {name!r}, of which "
            f"each number has {array.dtype.itemsize} bytes. Write "
            "`array.astype(np.float32)` into the file, or save it as safetensors."
        )
    return array


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    if (module := pickled_module(path)) is not None:
        raise WeightsError(
            f"{path} is a pickled module, a {module}, and no state_dict. Its code is "
            "not run. In the program that defines it, write "
            "`torch.save(model.state_dict(), path)`."
        )
    torch = _imported("torch", path)
    with _reading(path, "PyTorch state_dict"):
        state = torch.load(path, map_location="cpu", weights_only=True)
    state = _unpacked(torch, path, state)
    if not isinstance(state, Mapping):
        raise WeightsError(
            f"{path} holds a {type(state).__name__}, not a state_dict. Write "
            "`torch.save(model.state_dict(), path)`."
        )
    others = [name for name, value in state.items() if not torch.is_tensor(value)]
    if others:
        raise WeightsError(
            f"{path} is no state_dict: {', '.join(map(str, others[:20]))} are no "
            "tensors. Write `torch.save(model.state_dict(), path)`."
        )
    unnamed = [name for name in state if not isinstance(name, str)]
    if unnamed:
        raise WeightsError(
            f"{path} is no state_dict: its tensors are called "
            f"{', '.join(map(repr, unnamed[:20]))}, which is no text. Write "
            "`torch.save(model.state_dict(), path)`."
        )
    return {name: _from_torch(torch, path, name, t) for name, t in state.items()}


def _unpacked(torch: Any, path: Path, state: Any) -> Any:
    """Returns the state_dict in the checkpoint of a training script."""
    if not isinstance(state, Mapping):
        return state
    inner = {key: state[key] for key in _STATE_KEYS if key in state}
    inner = {
        key: value
        for key, value in inner.items()
        if isinstance(value, Mapping) and any(map(torch.is_tensor, value.values()))
    }
    if len(inner) > 1:
        raise WeightsError(
            f"{path} holds {len(inner)} models, {', '.join(map(repr, inner))}. Save "
            f"the one that you mean: `torch.save(checkpoint[{min(inner)!r}], path)`."
        )
    return next(iter(inner.values()), state)


def _from_torch(torch: Any, path: Path, name: str, tensor: Any) -> np.ndarray:
    try:
        tensor = tensor.detach().contiguous()
        if str(tensor.dtype) not in _TORCH_DTYPES:
            return tensor.numpy()
        integers, dtype = _TORCH_DTYPES[str(tensor.dtype)]
        return tensor.view(getattr(torch, integers)).numpy().view(dtype)
    except Exception as error:  # sparse or quantized tensors raise various errors
        raise WeightsError(
            f"{path}: the tensor {name!r} ({tensor.dtype}, {tensor.layout}) is no "
            f"plain array: {_cause(error)}. Save `tensor.to_dense()` or "
            "`tensor.dequantize()` instead."
        ) from error


# --- HDF5: Keras ----------------------------------------------------------------------


def _read_hdf5(path: Path, content: Path | io.BytesIO) -> dict[str, np.ndarray]:
    h5py = _imported("h5py", path)
    tensors: dict[str, np.ndarray] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not _is_optimizer_state(name):
            # A whole model has its weights one level down; TensorFlow appends a number.
            name = name.removeprefix("model_weights/").removesuffix(":0")
            tensors[name] = np.asarray(item[()])  # a string is no array

    with _reading(path, "HDF5"), h5py.File(content, "r") as file:
        file.visititems(visit)
    return tensors


def _is_optimizer_state(name: str) -> bool:
    return name.split("/")[0] in ("optimizer_weights", "optimizer")


# --- Optional packages, and errors ----------------------------------------------------


def _imported(module: str, path: Path, package: str = "") -> Any:
    """Imports a module that only one format needs."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = package or module
        raise ImportError(
            f"Reading {path} needs the package {package}: `pip install {package}`."
        ) from error


@contextlib.contextmanager
def _reading(path: Path, form: str) -> Iterator[None]:
    """Turns any error of a library into one that names the file."""
    try:
        yield
    except WeightsError:
        raise
    except Exception as error:  # on a damaged file, a library may raise anything
        raise WeightsError(
            f"{path} looks like {form}, and is truncated or broken: {_cause(error)}"
        ) from error


def _cause(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
