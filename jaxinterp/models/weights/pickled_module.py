"""Files of PyTorch that hold a module, told from those that hold weights.

A pickle names the classes of the objects in it. They are read without running the
pickle, and without PyTorch.
"""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

# Before PyTorch 1.6 a number, a version and sizes of numbers came before the object.
_N_PICKLES_BEFORE = 3
_MODULES = "torch.nn.modules."


def pickled_module(path: Path) -> str | None:
    """Returns the class of the module that a file of PyTorch holds.

    Args:
        path: the path of a file that `torch.save` or `torch.jit.save` wrote.

    Returns:
        The full name of the first class that is not PyTorch's own, or else of the
        first module of PyTorch; `None` if the file holds no module, or cannot be read.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp(), "weights.pt")
        >>> _ = path.write_bytes(b"")
        >>> pickled_module(path) is None
        True
    """
    try:
        if not zipfile.is_zipfile(path):
            with path.open("rb") as file:
                for _ in range(_N_PICKLES_BEFORE):
                    list(_classes(file))
                return _module(list(_classes(file)))
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if any("/code/" in name for name in names):
                return "torch.jit.ScriptModule"
            (pickle,) = [name for name in names if name.endswith("data.pkl")]
            with archive.open(pickle) as file:
                return _module(list(_classes(file)))
    # What is damaged is reported by the reader, which says how.
    except (ValueError, EOFError, IndexError, OSError, zipfile.BadZipFile):
        return None


def _classes(file: IO[bytes]) -> Iterator[str]:
    """Yields the full names of classes and functions that one pickle names."""
    texts: list[str] = []
    for operation, value, _ in pickletools.genops(file):
        if operation.name == "GLOBAL":
            yield str(value).replace(" ", ".")
        elif operation.name == "STACK_GLOBAL":
            yield ".".join(texts[-2:])
        elif isinstance(value, str):
            texts.append(value)


def _module(classes: list[str]) -> str | None:
    if not any(name.startswith(_MODULES) for name in classes):
        return None
    # The classes of containers and tensors come with every file.
    own = (name for name in classes if not name.startswith(("collections.", "torch.")))
    return next(own, next(name for name in classes if name.startswith(_MODULES)))
