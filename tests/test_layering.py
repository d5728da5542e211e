"""Imports point one way, files stay small, and each kind of knowledge has one place.

`violations` reads a checkout as text, so nothing is imported; the last tests run it on
small made-up trees, because a checker that finds nothing may be one that looks nowhere.
"""

import ast
import dataclasses
import functools
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "jaxinterp"

METHODS = (
    "attribution",
    "featurevis",
    "building_blocks",
    "concepts",
    "adversarial",
    "influence",
    "labels",
    "mechanistic",
)
LEAVES = ("models", "data")

# A room may import the rooms before it; methods also one another, without a cycle.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("trace",),
    ("rules",),
    ("loop",),
    METHODS,
    ("metrics",),
    ("plot",),
)
DEPTH = {room: depth for depth, rooms in enumerate(LAYERS) for room in rooms}
SEEN_BY_LEAVES = ("trace",)

# Where a third-party package may be imported; what is not listed goes anywhere.
HOMES: Mapping[str, tuple[str, ...]] = {
    "equinox": ("models",),
    "flax": ("models",),
    "h5py": ("models",),
    "huggingface_hub": ("models",),
    "keras": ("models",),
    "matplotlib": ("plot",),
    "optax": ("loop", *METHODS, *LEAVES),
    "orbax": ("models",),
    "platformdirs": (),
    "safetensors": ("models",),
    "torch": ("models",),
    "tqdm": ("loop", "data"),
    **dict.fromkeys(
        ("beartype", "captum", "timm", "torchvision", "transformers", "zennit"), ()
    ),
}
COMPAT = "jaxinterp/trace/compat.py"
NAMES_NO_IDEA = {"utils", "util", "helpers", "helper", "misc", "common"}
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60


@dataclasses.dataclass(frozen=True)
class Source:
    """A file of the checkout; `parts` is its dotted module name, split."""

    path: str
    text: str

    @property
    def parts(self) -> tuple[str, ...]:
        parts = Path(self.path).with_suffix("").parts
        return parts[:-1] if parts[-1] == "__init__" else parts

    @property
    def module(self) -> str:
        return ".".join(self.parts)

    @property
    def room(self) -> str | None:
        return self.parts[1] if len(self.parts) > 1 else None

    @functools.cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    def resolve(self, node: ast.ImportFrom) -> str:
        """The absolute module that `from ... import` names."""
        if not node.level:
            return node.module or ""
        inside = self.parts if self.path.endswith("__init__.py") else self.parts[:-1]
        base = inside[: len(inside) - node.level + 1]
        return ".".join((*base, *filter(None, [node.module])))

    def imports(self) -> Iterator[tuple[ast.stmt, str]]:
        """Pairs of statement and the dotted name it imports, `from` names appended."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((node, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = self.resolve(node)
                yield from ((node, f"{base}.{alias.name}") for alias in node.names)


def read(root: Path, folder: str) -> list[Source]:
    paths = sorted((root / folder).rglob("*.py"))
    return [Source(p.relative_to(root).as_posix(), p.read_text("utf-8")) for p in paths]


def room_of(name: str) -> str | None:
    """The room of our package that a dotted import leads to, if it leads to one."""
    parts = name.split(".")
    return parts[1] if parts[0] == PACKAGE and len(parts) > 1 else None


def may_import(importer: str, imported: str) -> bool:
    if importer == imported:
        return True
    if imported in LEAVES:
        return False
    if importer in LEAVES:
        return imported in SEEN_BY_LEAVES
    if importer in METHODS and imported in METHODS:
        return True
    return DEPTH[imported] < DEPTH[importer]


def wrong_directions(source: Source) -> Iterator[str]:
    room = source.room
    if room is None:  # the package's own __init__ shows everything
        return
    if room not in DEPTH and room not in LEAVES:
        yield f"{source.path}: `{room}` is in no layer; add it to LAYERS or LEAVES"
        return
    for node, name in source.imports():
        where = f"{source.path}:{node.lineno}"
        top = name.split(".")[0]
        if name.split(".") == [PACKAGE]:
            yield f"{where}: imports the whole package; name the module"
        imported = room_of(name)
        if imported is not None and (imported in DEPTH or imported in LEAVES):
            if not may_import(room, imported):
                yield f"{where}: `{room}` must not import `{imported}`"
        elif imported is not None:
            yield f"{where}: imports `{name}`, which is in no layer"
        elif top in HOMES and room not in HOMES[top]:
            yield f"{where}: `{top}` is not imported in `{room}`"


def hidden_imports(source: Source) -> Iterator[str]:
    """Imports of our own modules inside functions: a cycle that was papered over."""
    for function in functions(source.tree):
        for node in ast.walk(function):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [source.resolve(node)]
            else:
                continue
            if any(name.split(".")[0] == PACKAGE for name in names):
                where = f"{source.path}:{node.lineno}"
                yield f"{where}: imports our own module in a function"


def cycles(sources: list[Source]) -> Iterator[str]:
    modules = {source.module for source in sources}
    edges: dict[str, set[str]] = {}
    for source in sources:
        names = {name for _, name in source.imports()}
        targets = {n if n in modules else n.rpartition(".")[0] for n in names}
        edges[source.module] = (targets & modules) - {source.module}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> Iterator[str]:
        if module in trail:
            loop = (*trail[trail.index(module) :], module)
            yield f"import cycle: {' -> '.join(loop)}"
        elif module not in done:
            for target in sorted(edges[module]):
                yield from visit(target, (*trail, module))
            done.add(module)

    for module in sorted(edges):
        yield from visit(module, ())


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def code_lines(source: Source, function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function that are neither blank, nor comment, nor docstring."""
    assert function.end_lineno is not None
    lines = set(range(function.lineno, function.end_lineno + 1))
    for node in ast.walk(function):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if ast.get_docstring(node, clean=False) is not None:
            doc = node.body[0]
            assert doc.end_lineno is not None
            lines -= set(range(doc.lineno, doc.end_lineno + 1))
    text = source.text.splitlines()
    return sum(bool(re.match(r"\s*[^\s#]", text[line - 1])) for line in lines)


def sizes(source: Source) -> Iterator[str]:
    count = len(source.text.splitlines())
    if count > MAX_FILE_LINES:
        yield f"{source.path}: {count} lines, the limit is {MAX_FILE_LINES}"
    for function in functions(source.tree):
        count = code_lines(source, function)
        if count > MAX_FUNCTION_LINES:
            yield (
                f"{source.path}:{function.lineno}: {function.name} has {count} lines "
                f"of code, the limit is {MAX_FUNCTION_LINES}"
            )


def names(source: Source) -> Iterator[str]:
    for part in source.parts:
        if part in NAMES_NO_IDEA:
            yield f"{source.path}: `{part}` names no idea"


def private_jax(source: Source) -> Iterator[str]:
    for node, name in source.imports():
        if name.startswith("jax._src"):
            yield f"{source.path}:{node.lineno}: imports jax._src"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and dotted(node) == "jax._src":
            yield f"{source.path}:{node.lineno}: reads jax._src"


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def jax_aliases(source: Source) -> set[str]:
    """The names by which a file knows JAX or a part of it."""
    aliases = {"jax", "jaxlib"}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            base = source.resolve(node) if isinstance(node, ast.ImportFrom) else ""
            for alias in node.names:
                if is_jax(base or alias.name):
                    aliases.add(alias.asname or alias.name.split(".")[0])
    return aliases


def is_jax(name: str) -> bool:
    return name.split(".")[0] in {"jax", "jaxlib"}


def asks_for_a_feature(source: Source, node: ast.AST, aliases: set[str]) -> bool:
    """Whether a node is `hasattr`, `getattr` or an import that may fail, of JAX."""
    if isinstance(node, ast.Call) and node.args:
        about = dotted(node.args[0]).split(".")[0]
        return dotted(node.func) in {"hasattr", "getattr"} and about in aliases
    if isinstance(node, ast.Try) and node.handlers:
        attempt = dataclasses.replace(source, text=ast.unparse(node.body))
        return any(is_jax(name) for _, name in attempt.imports())
    return False


def jax_versions(source: Source) -> Iterator[str]:
    """Only `compat.py` asks what this JAX has, and nobody parses its version."""
    aliases = jax_aliases(source)
    for node in ast.walk(source.tree):
        where = f"{source.path}:{getattr(node, 'lineno', 0)}"
        if source.path != COMPAT and asks_for_a_feature(source, node, aliases):
            yield f"{where}: asks which JAX this is; {COMPAT} does that"
        version = isinstance(node, ast.Attribute) and node.attr.startswith("__version")
        if version and dotted(node).split(".")[0] in aliases:
            yield f"{where}: reads JAX's version; detect the feature"


def violations(root: Path) -> list[str]:
    """All that the tree at `root` breaks, one line each."""
    package = read(root, PACKAGE)
    experiments = read(root, "experiments")
    found: list[str] = []
    for source in package:
        found += wrong_directions(source)
        found += hidden_imports(source)
        found += jax_versions(source)
    found += cycles(package)
    for source in (*package, *experiments):
        found += sizes(source)
    for source in (*package, *experiments, *read(root, "tests")):
        found += names(source)
        found += private_jax(source)
    return list(dict.fromkeys(found))


def test_the_project_keeps_its_layers() -> None:
    found = violations(ROOT)
    assert not found, "\n".join(("", *found))


# Below: the checker itself, on trees that break one rule each.

SOUND = {
    "__init__.py": "from .rules.lrp import Epsilon as Epsilon\n",
    "trace/__init__.py": "from .graph import Graph as Graph\n",
    "trace/graph.py": "import jax\nfrom . import compat\n",
    "trace/compat.py": "import jax\nNEW = hasattr(jax, 'new')\n",
    "rules/__init__.py": "from .lrp import Epsilon as Epsilon\n",
    "rules/lrp.py": "from jaxinterp.trace import Graph\nclass Epsilon: ...\n",
    "loop.py": "import tqdm\n",
    "attribution/__init__.py": "",
    "attribution/path.py": "import optax\nfrom ..loop import x\nfrom .. import rules\n",
    "models/__init__.py": "import flax\ndef from_keras():\n    import keras\n",
    "plot/__init__.py": "import matplotlib\nfrom jaxinterp import attribution\n",
}


def make_tree(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / (name if name.startswith("tests/") else f"{PACKAGE}/{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_sound_tree_has_no_violation(tmp_path: Path) -> None:
    assert violations(make_tree(tmp_path, SOUND)) == []


def test_an_empty_checkout_has_no_violation(tmp_path: Path) -> None:
    assert violations(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("trace/a.py", "from jaxinterp.rules import x", "must not import `rules`"),
        ("trace/a.py", "from ..rules.lrp import x", "must not import `rules`"),
        ("trace/a.py", "from .. import rules", "must not import `rules`"),
        ("trace/a.py", "import jaxinterp.loop", "must not import `loop`"),
        ("rules/a.py", "from jaxinterp import attribution", "must not import `attr"),
        ("attribution/a.py", "import jaxinterp.metrics.x", "must not import `metrics`"),
        ("attribution/a.py", "from ..models import x", "must not import `models`"),
        ("metrics/a.py", "from ..plot import x", "must not import `plot`"),
        ("metrics/a.py", "from ..data import x", "must not import `data`"),
        ("models/a.py", "from ..rules import x", "must not import `rules`"),
        ("attribution/a.py", "import jaxinterp as ji", "imports the whole package"),
        ("attic/a.py", "", "`attic` is in no layer"),
        ("rules/a.py", "from jaxinterp.attic import x", "is in no layer"),
        ("rules/a.py", "import flax.linen as nn", "`flax` is not imported in"),
        ("rules/a.py", "import optax", "`optax` is not imported in"),
        ("attribution/a.py", "import matplotlib.pyplot", "`matplotlib` is not"),
        ("attribution/a.py", "import torch", "`torch` is not imported in"),
        ("rules/a.py", "def f():\n    from ..trace import x", "in a function"),
        ("rules/a.py", "from .lrp import x\nfrom . import b", None),
        ("rules/lrp.py", "from . import Epsilon", "import cycle: jaxinterp.rules"),
        ("rules/a.py", "from jax._src import core", "imports jax._src"),
        ("rules/a.py", "import jax\njax._src.core", "reads jax._src"),
        ("tests/test_a.py", "import jax._src.core", "imports jax._src"),
        ("rules/a.py", "import jax\njax.__version__", "reads JAX's version"),
        ("trace/compat.py", "import jax\njax.__version_info__", "reads JAX's version"),
        (
            "rules/a.py",
            "import jax.extend.core as c\nhasattr(c, 'x')",
            "asks which JAX",
        ),
        ("rules/a.py", "from jax import lax\ngetattr(lax, 'x', 0)", "asks which JAX"),
        (
            "rules/a.py",
            "try:\n    from jax import x\nexcept E:\n    x = 0",
            "asks which",
        ),
        ("rules/utils.py", "", "`utils` names no idea"),
        ("tests/helpers.py", "", "`helpers` names no idea"),
        ("rules/a.py", "x = 0\n" * 501, "501 lines, the limit is 500"),
        ("rules/a.py", "def f():\n" + "    x = 0\n" * 60, "f has 61 lines of code"),
        ("rules/a.py", "def f():\n" + "    x = 0\n\n    # y\n" * 59, None),
        ("rules/a.py", 'def f():\n    """' + "x\n" * 80 + '"""\n    x = 0', None),
    ],
)
def test_a_violation_is_found(
    tmp_path: Path, name: str, text: str, expected: str | None
) -> None:
    found = violations(make_tree(tmp_path, {**SOUND, name: text}))
    if expected is None:
        assert found == []
    else:
        assert len(found) == 1, found
        assert expected in found[0]


def test_methods_may_import_one_another_but_not_in_a_circle(tmp_path: Path) -> None:
    one_way = {
        **SOUND,
        "concepts/__init__.py": "",
        "concepts/a.py": "from ..attribution import path",
    }
    assert violations(make_tree(tmp_path, one_way)) == []
    circle = {"attribution/path.py": "from jaxinterp.concepts.a import x"}
    found = violations(make_tree(tmp_path, circle))
    assert len(found) == 1
    assert found[0].startswith("import cycle: ")


def test_every_package_we_restrict_is_third_party() -> None:
    assert not set(HOMES) & sys.stdlib_module_names
