"""Where trained networks are kept, and how they are told apart.

A file is known by the name of its network and by a fingerprint of everything that could
change the result: its configuration and the code of the modules that build, feed and
train it. Other code makes another fingerprint, and so another file: a network that was
trained by code of yesterday is never returned today.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import platformdirs

# Counts wherever it is installed. Other packages do not: a new JAX reads old networks.
PACKAGES = ("experiments", "jaxinterp")
# The recipes of a family stand in a table of this name, which does not count as code:
# the recipe in question is the configuration, and the others do not matter.
TABLE = "RECIPES"
_FIGURES = "figures.json"


class Stored(NamedTuple):
    """A trained network.

    Attributes:
        variables: nested dicts of arrays.
        figures: what was measured, by name.
    """

    variables: dict[str, Any]
    figures: dict[str, float]


def folder() -> Path:
    """Returns where trained networks are kept.

    `JAXINTERP_CACHE` names another folder than the user's cache.
    """
    root = os.environ.get("JAXINTERP_CACHE") or platformdirs.user_cache_dir("jaxinterp")
    return Path(root) / "zoo"


def fingerprint(config: Any, *modules: str) -> str:
    """Returns 12 letters that change with a configuration or with the code.

    Comments, docstrings and the table of recipes may change; any other change of a file
    counts.

    Args:
        config: anything whose `repr` says all of it.
        *modules: dotted names. They count, and so does all code that they import,
            directly or through others, but for installed packages.
    """
    digest = hashlib.sha256(repr(config).encode())
    for path in code_of(*modules):
        digest.update(_what_counts(path.read_text("utf-8")).encode())
    return digest.hexdigest()[:12]


def code_of(*modules: str) -> list[Path]:
    """Returns the files of modules and of what they import, installed packages aside.

    Args:
        *modules: dotted names of what has been imported.
    """
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        file = getattr(sys.modules.get(name), "__file__", None)
        if name in found or file is None:  # a function or class: its module waits too
            continue
        if name.split(".")[0] not in PACKAGES and _is_installed(Path(file)):
            continue
        found[name] = Path(file)
        waiting.extend(_imports(Path(file)))
    return [found[name] for name in sorted(found)]


def path_of(name: str, mark: str) -> Path:
    """Returns the file of a network.

    Args:
        name: its name.
        mark: its fingerprint.
    """
    return folder() / f"{name}-{mark}.npz"


def save(path: Path, variables: Any, figures: Mapping[str, float]) -> None:
    """Writes a trained network, whole or not at all.

    The arrays go to a temporary file beside it, which then takes its name at once. Two
    processes that do so at the same time leave the file of the later one.

    Args:
        path: the file.
        variables: nested dicts of arrays.
        figures: what was measured, by name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {
        jax.tree_util.keystr(at, simple=True, separator="/"): np.asarray(leaf)
        for at, leaf in jax.tree.leaves_with_path(variables)
    }
    arrays[_FIGURES] = np.array(json.dumps(dict(figures)))
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read(path: Path) -> Stored | None:
    """Returns a trained network, or `None` if there is none.

    Args:
        path: the file.

    Raises:
        ValueError: if the file is damaged.
    """
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file) as stored:
            arrays = {key: stored[key] for key in stored.files}
        figures = json.loads(str(arrays.pop(_FIGURES)))
    except Exception as error:  # what a damaged archive raises is anyone's guess
        raise ValueError(
            f"{path} is damaged ({error}).\nDelete it and the network is trained anew."
        ) from error
    variables: dict[str, Any] = {}
    for key, array in arrays.items():
        *parents, name = key.split("/")
        at = variables
        for parent in parents:
            at = at.setdefault(parent, {})
        at[name] = jax.numpy.asarray(array)
    return Stored(variables, figures)


def _is_installed(path: Path) -> bool:
    places = sysconfig.get_paths()
    folders = (places[kind] for kind in ("stdlib", "platstdlib", "purelib", "platlib"))
    return any(path.is_relative_to(folder) for folder in folders)


def _imports(path: Path) -> Iterator[str]:
    """Yields the dotted names that a file imports, `from a import b` as a and a.b."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _what_counts(text: str) -> str:
    """Returns code without comments, docstrings, and recipes of other networks."""
    tree = ast.parse(text)
    documented = ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    tree.body = [node for node in tree.body if not _is_table(node)]
    return ast.dump(tree)


def _is_table(node: ast.stmt) -> bool:
    if not isinstance(node, ast.Assign):
        return False
    return [ast.unparse(target) for target in node.targets] == [TABLE]
