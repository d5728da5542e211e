"""The public face: every name that a user can import is documented, typed and shown.

A name is public if it stands in an `__init__.py` of the package without an underscore.
"""

import dataclasses
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import jaxinterp

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = jaxinterp.__name__
CITATION = re.compile(r"\[([a-z]+\d{4}[a-z]+)\]")

IMPORT = """
import os, sys
flags = os.environ.get("XLA_FLAGS")
import jaxinterp
import jax
assert os.environ.get("XLA_FLAGS") == flags, "importing sets XLA_FLAGS"
assert not jax.config.jax_enable_x64, "importing enables float64"
print(*{"beartype", "equinox", "keras", "torch"} & set(sys.modules))
"""


@dataclasses.dataclass(frozen=True)
class Public:
    """A public object and the path by which a user imports it."""

    path: str
    value: Any

    @property
    def doc(self) -> str:
        """The docstring written for this object, neither inherited nor generated."""
        if not inspect.isclass(self.value):
            return inspect.getdoc(self.value) or ""
        doc = vars(self.value).get("__doc__") or ""
        return "" if doc.startswith(f"{self.name}(") else inspect.cleandoc(doc)

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]


def packages() -> Iterator[ModuleType]:
    """The package and its subpackages.

    They are found by name, since a function may hide a module that is called like it.
    """
    yield jaxinterp
    for module in pkgutil.walk_packages(
        getattr(jaxinterp, "__path__", ()), f"{PACKAGE}."
    ):
        if module.ispkg:
            yield importlib.import_module(module.name)


def public_objects(kind: Callable[[Any], bool]) -> list[Public]:
    found = []
    for package in packages():
        for name, value in vars(package).items():
            ours = getattr(value, "__module__", "").split(".")[0] == PACKAGE
            if not name.startswith("_") and ours and kind(value):
                found.append(Public(f"{package.__name__}.{name}", value))
    return found


def is_function(value: Any) -> bool:
    return inspect.isfunction(inspect.unwrap(value)) and not inspect.isclass(value)


def is_public(value: Any) -> bool:
    return inspect.isclass(value) or is_function(value)


def callables_of(public: Public) -> Iterator[tuple[str, Any]]:
    """A function, or the methods a class defines itself that a user would call."""
    if not inspect.isclass(public.value):
        yield public.path, public.value
        return
    for name, value in vars(public.value).items():
        method = value.fget if isinstance(value, property) else value
        method = getattr(method, "__func__", method)
        written = inspect.isfunction(method) and method.__module__.startswith(PACKAGE)
        if written and (name == "__call__" or not name.startswith("_")):
            yield f"{public.path}.{name}", method


def unannotated(function: Any) -> list[str]:
    signature = inspect.signature(function)
    bare = [
        name
        for name, parameter in signature.parameters.items()
        if parameter.annotation is parameter.empty and name not in ("self", "cls")
    ]
    if signature.return_annotation is signature.empty:
        bare.append("return")
    return bare


def test_every_package_has_a_docstring() -> None:
    assert not [package.__name__ for package in packages() if not package.__doc__]


def test_every_public_name_has_a_docstring() -> None:
    missing = [public.path for public in public_objects(is_public) if not public.doc]
    for public in public_objects(inspect.isclass):
        missing += [path for path, f in callables_of(public) if not inspect.getdoc(f)]
    assert not missing, missing


def test_every_public_name_is_fully_annotated() -> None:
    missing = {}
    for public in public_objects(is_public):
        for path, function in callables_of(public):
            if bare := unannotated(function):
                missing[path] = bare
    assert not missing, missing


def test_every_public_function_shows_an_example() -> None:
    missing = [
        public.path
        for public in public_objects(is_function)
        if "Example:" not in public.doc or ">>> " not in public.doc
    ]
    assert not missing, missing


def test_every_public_name_is_on_an_api_page() -> None:
    pages = sorted((ROOT / "docs" / "api").rglob("*.md"))
    words = set(
        re.findall(r"\w+", "\n".join(page.read_text("utf-8") for page in pages))
    )
    missing = [p.path for p in public_objects(is_public) if p.name not in words]
    assert not missing, f"not named in docs/api/*.md: {missing}"


def test_every_object_on_an_api_page_exists() -> None:
    for page in sorted((ROOT / "docs" / "api").rglob("*.md")):
        for path in re.findall(r"^::: ([\w.]+)", page.read_text("utf-8"), re.MULTILINE):
            module, _, name = path.rpartition(".")
            assert hasattr(importlib.import_module(module), name), (
                f"{page.name}: {path}"
            )


def test_no_api_page_shows_a_module_in_place_of_its_function() -> None:
    for page in sorted((ROOT / "docs" / "api").rglob("*.md")):
        for path in re.findall(r"^::: ([\w.]+)", page.read_text("utf-8"), re.MULTILINE):
            # The tool looks for a module first, and would show all that is in it.
            file = ROOT.joinpath(*path.split("."))
            name = path.rpartition(".")[2]
            assert not file.is_dir(), f"{page.name}: {path}"
            assert not file.with_suffix(".py").exists(), (
                f"{page.name}: write the path where {name} is defined, not {path}"
            )


def test_every_citation_is_in_the_bibliography() -> None:
    bibliography = (ROOT / "docs" / "references.bib").read_text("utf-8")
    known = set(re.findall(r"^@\w+\{(\w+),", bibliography, re.MULTILINE))
    assert known
    texts = [*(ROOT / PACKAGE).rglob("*.py"), *(ROOT / "docs").rglob("*.md")]
    for path in texts:
        cited = set(CITATION.findall(path.read_text("utf-8")))
        assert cited <= known, f"{path.relative_to(ROOT)}: {sorted(cited - known)}"


def test_importing_is_silent_and_brings_no_optional_package() -> None:
    environment = {k: v for k, v in os.environ.items() if k != "JAX_ENABLE_X64"}
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORT],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout.strip(), run.stderr) == (0, "", "")
