"""Imports point one way, files stay small, and each kind of knowledge has one place.

`violations` reads a checkout as text, so nothing is imported; the last tests run it on
small made-up trees, because a checker that finds nothing may be one that looks nowhere.
"""

import ast
import dataclasses
import functools
import itertools
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "jaxinterp"

# What a folder holds, lowest floor first. A room imports those of lower floors only;
# rooms of one floor do not import one another. Folders without rooms are not listed.
FLOORS: Mapping[str, tuple[str, ...]] = {
    "": (
        "checks keys pytree table types",
        "loop tracing perturbation fit data plot",
        "rules models",
        "objectives",
        "attribution featurevis mechanistic adversarial influence",
        "building_blocks concepts labels metrics",
        "trust",
    ),
    "tracing": (
        "compat errors",
        "program",
        "facts",
        "graph selectors mistakes narrow",
        "select recognition layer by_address",
        "call",
        "attention capture intervene with_rules",
        "attention_values",
        "split",
    ),
    "attribution": (
        "contract tokens",
        "backward",
        "place",
        "gradients relevance masking maps standard_error",
    ),
    "featurevis": (
        "images",
        "comparisons regularizers responses parametrizations",
        "transforms",
        "optimize quality",
        "editing",
    ),
    "adversarial": (
        "threat detection",
        "contract",
        "ascent feature_squeezing mahalanobis",
        "pgd apgd smallest attack_health",
        "deep_fool carlini_wagner",
    ),
    "mechanistic": (
        "parts dictionary",
        "interchange",
        "edges patching",
        "circuit lens",
    ),
    "influence": (
        "losses training",
        "curvature affine_sites",
        "conjugate_gradient ekfac influence_function knn_shapley trac_in",
    ),
    "building_blocks": (
        "layer",
        "activation_grid neuron_groups semantic_dictionary",
        "attribution",
    ),
    "labels": (
        "accuracy_under_noise label_quality out_of_fold",
        "confident",
    ),
    "trust": (
        "spray artifact_effect report",
        "performance reasons explanation",
        "audit",
    ),
    "metrics": (
        "contract curve bootstrap",
        "rank_correlation references",
        "convergence_delta localization perturbation_curve",
        "sensitivity parameter_randomization",
        "compare",
    ),
    "models": (
        "adapters architectures summary with_preprocess",
        "weights",
    ),
}
METHODS = (*FLOORS[""][4].split(), *FLOORS[""][5].split())
LEAVES = ("models", "data")  # imported by nobody, but for:
READS_DATA = "jaxinterp/models/weights/pretrained.py"  # decision 0012

# Tests that are not called like a file of the package: of a folder as a whole.
NO_MIRROR = {
    "adversarial/test_conformance.py": "every attack in one table",
    "metrics/test_conformance.py": "every metric in one table",
    "attribution/relevance/test_recurrent.py": "every kind of recurrent network",
    "attribution/test_bad_input.py": "what tells nothing, of many methods",
    "attribution/test_golden.py": "many methods against the peers' numbers",
    "attribution/test_masks.py": "masked attention, through every room",
    "attribution/test_weights.py": "derivatives of every method in the weights",
    "featurevis/regularizers/test_penalties.py": "every penalty in one table",
    "test_dataset_passes.py": "every pass over data, spread over devices and processes",
    "data/test_fields.py": "the fields of every task",
    "models/test_families.py": "every architecture in one table",
    "models/test_generative.py": "several architectures",
    "models/test_transformers.py": "several architectures",
    "models/test_vision.py": "several architectures",
    "models/weights/test_shards.py": "weights in several files, through `load`",
    "rules/test_affine_oracles.py": "all affine rules against oracles",
    "rules/test_golden_layers.py": "all rules against a peer's numbers",
    "rules/test_hyperparameters.py": "what every rule takes",
    "rules/test_invariance.py": "one function in several spellings",
}

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
    **dict.fromkeys(["beartype", "captum", "lime", "pytorch_grad_cam", "saliency"], ()),
    **dict.fromkeys(
        ["lxt", "shap", "timm", "torchvision", "transformers", "zennit"], ()
    ),
}
COMPAT = "jaxinterp/tracing/compat.py"
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


def floor_of(folder: str, room: str) -> int | None:
    """The number of the floor of a folder that a room lies on."""
    floors = [number for number, f in enumerate(FLOORS[folder]) if room in f.split()]
    return floors[0] if floors else None


def shared_folder(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """How many first parts two dotted paths have in common."""
    pairs = itertools.takewhile(
        lambda pair: pair[0] == pair[1], zip(one, other, strict=False)
    )
    return len(list(pairs))


def wrong_directions(source: Source) -> Iterator[str]:
    if source.path.endswith("__init__.py"):  # a public face shows what lies behind it
        return
    own = source.parts[1:]
    for depth in range(len(own)):
        folder = "/".join(own[:depth])
        if folder in FLOORS and floor_of(folder, own[depth]) is None:
            where = f"of `{folder}` " if folder else ""
            yield f"{source.path}: `{own[depth]}` is on no floor {where}in FLOORS"
            return
    for node, name in source.imports():
        where = f"{source.path}:{node.lineno}"
        if name.split(".") == [PACKAGE]:
            yield f"{where}: imports the whole package; name the module"
        elif name.split(".")[0] == PACKAGE:
            other = tuple(name.split(".")[1:])
            if not (source.path == READS_DATA and other[0] == "data"):
                yield from wrong_way(where, own, other)
        elif own[0] not in HOMES.get(name.split(".")[0], (own[0],)):
            yield f"{where}: `{name.split('.')[0]}` is not imported in `{own[0]}`"


def wrong_way(
    where: str, own: tuple[str, ...], other: tuple[str, ...]
) -> Iterator[str]:
    """Says what is wrong with an import of one of our modules by another."""
    depth = shared_folder(own, other)
    folder = "/".join(own[:depth])
    if folder not in FLOORS or depth >= min(len(own), len(other)):
        return
    room, imported = own[depth], other[depth]
    floor, lower = floor_of(folder, room), floor_of(folder, imported)
    if lower is None:
        yield f"{where}: imports `{'.'.join(other)}`, which is on no floor"
    elif (imported in LEAVES and not depth) or (floor is not None and lower >= floor):
        yield f"{where}: `{room}` must not import `{imported}`"


def misplaced_tests(root: Path) -> Iterator[str]:
    """Tests in a folder of the package's name that mirror no file of it."""
    for path in sorted((root / "tests").rglob("test_*.py")):
        name = path.relative_to(root / "tests")
        if len(name.parts) < 2 or not (root / PACKAGE / name.parts[0]).is_dir():
            continue
        mirrored = root / PACKAGE / name.parent / name.name.removeprefix("test_")
        if not mirrored.exists() and name.as_posix() not in NO_MIRROR:
            yield f"tests/{name.as_posix()}: there is no {mirrored.relative_to(root)}"


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
    found += misplaced_tests(root)
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
    "checks.py": "import numpy\n",
    "tracing/__init__.py": "from .graph import Graph as Graph\n",
    "tracing/graph.py": "import jax\nfrom . import compat\n",
    "tracing/compat.py": "import jax\nNEW = hasattr(jax, 'new')\n",
    "rules/__init__.py": "from .lrp import Epsilon as Epsilon\n",
    "rules/lrp.py": "from jaxinterp.tracing.graph import Graph\nclass Epsilon: ...\n",
    "loop/sums.py": "import tqdm\nfrom jaxinterp.checks import x\n",
    "attribution/__init__.py": "",
    "attribution/gradients/integral.py": "from ...loop import sums\nimport optax\n",
    "models/__init__.py": "import flax\ndef from_keras():\n    import keras\n",
    "plot/heatmap.py": "import matplotlib\nfrom jaxinterp import checks\n",
    "tests/rules/test_lrp.py": "",
    "tests/test_everything.py": "",
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
        ("loop/a.py", "from jaxinterp.rules import x", "must not import `rules`"),
        ("loop/a.py", "from ..rules.lrp import x", "must not import `rules`"),
        ("loop/a.py", "from .. import rules", "must not import `rules`"),
        ("loop/a.py", "import jaxinterp.tracing", "must not import `tracing`"),
        ("checks.py", "from jaxinterp import keys", "must not import `keys`"),
        ("rules/a.py", "from jaxinterp import attribution", "must not import `attr"),
        ("plot/a.py", "import jaxinterp.tracing.x", "must not import `tracing`"),
        ("attribution/contract.py", "from ..models import x", "not import `models`"),
        ("attribution/contract.py", "from ..featurevis import x", "not import `feat"),
        ("attribution/contract.py", "from .gradients import x", "not import `gradi"),
        (
            "attribution/maps/a.py",
            "from ..gradients.a import x",
            "not import `gra",
        ),
        ("attribution/maps/a.py", "from ..backward import x", None),
        ("concepts/a.py", "from ..data import x", "must not import `data`"),
        ("models/summary.py", "from ..rules import x", "must not import `rules`"),
        ("models/summary.py", "from ..data import x", "must not import `data`"),
        ("models/weights/pretrained.py", "from ...data import x", None),
        ("models/weights/pretrained.py", "from ...rules import x", "import `rules`"),
        ("rules/a.py", "import jaxinterp as ji", "imports the whole package"),
        ("attic/a.py", "", "`attic` is on no floor"),
        ("tracing/a.py", "", "`a` is on no floor of `tracing`"),
        ("rules/a.py", "from jaxinterp.attic import x", "is on no floor"),
        ("tests/rules/test_a.py", "", "there is no jaxinterp/rules/a.py"),
        ("rules/a.py", "import flax.linen as nn", "`flax` is not imported in"),
        ("rules/a.py", "import optax", "`optax` is not imported in"),
        ("attribution/contract.py", "import matplotlib.pyplot", "`matplotlib` is not"),
        ("attribution/contract.py", "import torch", "`torch` is not imported in"),
        ("rules/a.py", "def f():\n    from ..tracing import x", "in a function"),
        ("rules/a.py", "from .lrp import x\nfrom . import b", None),
        ("rules/lrp.py", "from . import Epsilon", "import cycle: jaxinterp.rules"),
        ("rules/a.py", "from jax._src import core", "imports jax._src"),
        ("rules/a.py", "import jax\njax._src.core", "reads jax._src"),
        ("tests/test_a.py", "import jax._src.core", "imports jax._src"),
        ("rules/a.py", "import jax\njax.__version__", "reads JAX's version"),
        (
            "tracing/compat.py",
            "import jax\njax.__version_info__",
            "reads JAX's version",
        ),
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


def test_every_exception_of_the_mirror_exists() -> None:
    assert not [name for name in NO_MIRROR if not (ROOT / "tests" / name).exists()]


def test_every_package_we_restrict_is_third_party() -> None:
    assert not set(HOMES) & sys.stdlib_module_names
