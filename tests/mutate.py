"""Does the suite bite? Changes the package in one place at a time and runs the tests.

    python -m tests.mutate --seed 0 --count 80 --jobs 2

A change flips a sign or a comparison, moves a constant or drops a statement. It is made
in a copy of the checkout, and judged by the tests of the room that it lies in: first
the file's own tests, then the rest of the room's, its examples included, until one
fails or they take much longer than they do unchanged. What no test notices is printed
with its difference: a test is missing, or the change changes nothing that is computed.

`--rooms` names other rooms, each by its path in the package and, where its tests do not
lie in the folder or file of the same name, the paths of these:

    python -m tests.mutate --rooms rules loop featurevis/images.py=tests/featurevis
"""

import argparse
import ast
import concurrent.futures
import difflib
import itertools
import os
import queue
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests import program_cache

PACKAGE = "jaxinterp"
ROOMS = (
    "rules",
    "tracing=tests/tracing,tests/spellings,tests/test_mistakes.py",
    "attribution=tests/attribution,tests/test_conformance.py",
    "loop",
    "featurevis/optimize",
)
KINDS = ("sign", "comparison", "constant", "statement")
MOST_SURVIVORS = 0.05
MOST_BYTES = 12 * 2**30  # of address space, so that a runaway hurts nobody else

OPERATORS: Mapping[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
}
COMPARISONS: Mapping[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: (r"is\s+not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: (r"not\s+in", "in"),
}
# They only say what is never done: to compare or assign fields, to zip unlike lengths.
DECLARATIONS = {"eq", "frozen", "strict"}


class Change(NamedTuple):
    """One place of one file, and the bytes that take the place of what is there."""

    path: str
    kind: str
    line: int
    start: int
    end: int
    replacement: bytes

    def applied(self, source: bytes) -> bytes:
        """Returns the file with the change."""
        return source[: self.start] + self.replacement + source[self.end :]

    def difference(self, source: bytes) -> str:
        """Returns the lines that differ."""
        texts = [text.decode().splitlines() for text in (source, self.applied(source))]
        return "\n".join(list(difflib.unified_diff(*texts, n=1, lineterm=""))[2:])


class Room(NamedTuple):
    """A file or folder of the package, and the paths of its tests."""

    path: str
    tests: tuple[str, ...]

    def files(self, root: Path) -> list[Path]:
        """Returns its source files."""
        place = root / PACKAGE / self.path
        return [place] if place.is_file() else sorted(place.rglob("*.py"))

    def order(self, root: Path, changed: str | None = None) -> list[str]:
        """Returns what pytest is asked to run, nearest to the changed file first."""
        order = [*self.tests, f"{PACKAGE}/{self.path}"]
        if changed is not None:
            inside = Path(changed).relative_to(PACKAGE)
            mirror = Path("tests") / inside.parent / f"test_{inside.name}"
            nearest = [mirror.as_posix()] if (root / mirror).exists() else []
            order = [*nearest, changed, *order]
        return list(dict.fromkeys(order))


class File:
    """A source file, and where in its bytes the nodes of its syntax tree lie."""

    def __init__(self, path: str, source: bytes):
        self.path = path
        self.source = source
        lines = source.splitlines(keepends=True)
        self.starts = [0, *itertools.accumulate(map(len, lines))]

    def start(self, node: ast.expr | ast.stmt) -> int:
        return self.starts[node.lineno - 1] + node.col_offset

    def end(self, node: ast.expr | ast.stmt) -> int:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self.starts[node.end_lineno - 1] + node.end_col_offset

    def change(self, kind: str, start: int, end: int, replacement: str) -> Change:
        line = self.source.count(b"\n", 0, start) + 1
        return Change(self.path, kind, line, start, end, replacement.encode())

    def between(
        self, kind: str, start: int, end: int, pattern: str, replacement: str
    ) -> Iterator[Change]:
        """Replaces the operator that lies between two nodes."""
        code = re.sub(rb"#[^\n]*", lambda m: b" " * len(m[0]), self.source[start:end])
        if match := re.search(pattern.encode(), code):
            yield self.change(
                kind, start + match.start(), start + match.end(), replacement
            )

    def changes(self) -> list[Change]:
        """Returns all changes of the file that leave it a program."""
        tree = ast.parse(self.source)
        changes = itertools.chain(
            (
                change
                for node in nodes_that_compute(tree)
                for change in (
                    *self.signs(node),
                    *self.comparisons(node),
                    *self.constants(node),
                )
            ),
            self.statements(tree),
        )
        return [change for change in changes if is_program(change.applied(self.source))]

    def signs(self, node: ast.AST) -> Iterator[Change]:
        if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
            old, new = OPERATORS[type(node.op)]
            ends = self.end(node.left), self.start(node.right)
            yield from self.between("sign", *ends, re.escape(old), new)
        elif isinstance(node, ast.AugAssign) and type(node.op) in OPERATORS:
            old, new = OPERATORS[type(node.op)]
            ends = self.end(node.target), self.start(node.value)
            yield from self.between("sign", *ends, re.escape(old), new)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            yield self.change("sign", self.start(node), self.start(node.operand), "")

    def comparisons(self, node: ast.AST) -> Iterator[Change]:
        if isinstance(node, ast.Compare):
            operands = itertools.pairwise((node.left, *node.comparators))
            for operator, (left, right) in zip(node.ops, operands, strict=True):
                ends = self.end(left), self.start(right)
                yield from self.between(
                    "comparison", *ends, *COMPARISONS[type(operator)]
                )
        elif isinstance(node, ast.BoolOp):
            words = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
            if len(node.values) == 2:  # of more, one operator alone binds otherwise
                ends = self.end(node.values[0]), self.start(node.values[1])
                yield from self.between("comparison", *ends, *words)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            ends = self.start(node), self.start(node.operand)
            yield from self.between("comparison", *ends, r"not\s+", "")

    def constants(self, node: ast.AST) -> Iterator[Change]:
        if isinstance(node, ast.Constant) and isinstance(
            node.value, bool | int | float
        ):
            value = node.value
            moved = 2 * value + 1 if isinstance(value, float) else value + 1
            text = repr(not value if isinstance(value, bool) else moved)
            yield self.change("constant", self.start(node), self.end(node), text)

    def statements(self, tree: ast.AST) -> Iterator[Change]:
        for scope in ast.walk(tree):
            if not isinstance(scope, ast.FunctionDef):
                continue
            names = {
                argument.arg for argument in ast.walk(scope.args) if is_arg(argument)
            }
            for node in own_statements(scope):
                if can_be_dropped(node, names):
                    yield self.change(
                        "statement", self.start(node), self.end(node), "pass"
                    )
                names |= {name.id for name in stored_names(node)}


def is_arg(node: ast.AST) -> bool:
    return isinstance(node, ast.arg)


def is_program(source: bytes) -> bool:
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


def stored_names(statement: ast.stmt) -> Iterator[ast.Name]:
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.For):
        # Of a loop its own names alone: those in its body come after it.
        whole = statement.target if isinstance(statement, ast.For) else statement
        for node in ast.walk(whole):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node


def own_statements(scope: ast.FunctionDef) -> Iterator[ast.stmt]:
    """The statements of a function in their order, without those of functions in it."""
    rest: list[ast.AST] = list(scope.body)
    while rest:
        node = rest.pop(0)
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            continue
        if isinstance(node, ast.stmt):
            yield node
        if isinstance(node, ast.stmt | ast.excepthandler | ast.match_case):
            rest[:0] = list(ast.iter_child_nodes(node))


def can_be_dropped(node: ast.stmt, names: set[str]) -> bool:
    """Whether the function still has all its names without a statement."""
    if isinstance(node, ast.Expr):
        return not isinstance(node.value, ast.Constant)  # a docstring
    if isinstance(node, ast.Assign):
        stored = {name.id for name in stored_names(node)}
        return stored <= names
    if isinstance(node, ast.If):
        return not node.orelse
    return isinstance(node, ast.AugAssign | ast.Continue | ast.Break)


def nodes_that_compute(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but annotations, strings and what is only declared."""
    yield node
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.keyword) and child.arg in DECLARATIONS:
                continue
            if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr):
                yield from nodes_that_compute(child)


def draw(changes: Sequence[Change], count: int, seed: int) -> list[Change]:
    """Draws as many changes of each kind, as far as there are any."""
    generator = random.Random(seed)
    by_kind = [[c for c in changes if c.kind == kind] for kind in KINDS]
    shuffled = [generator.sample(some, len(some)) for some in by_kind]
    in_turn = itertools.chain.from_iterable(itertools.zip_longest(*shuffled))
    return list(itertools.islice(filter(None, in_turn), count))


def limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))


def run(copy: Path, paths: Sequence[str], seconds: float | None) -> tuple[str, str]:
    """Returns `passed`, `failed` or `timed out`, and the end of what pytest printed."""
    plugins = ["-n", "0", "-p", "no:randomly", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=line", *plugins]
    command += ["-m", "slow or not slow"]
    environment = {k: v for k, v in os.environ.items() if k != "PYTEST_ADDOPTS"}
    # A file that was changed twice in a second would be read from its stale bytecode.
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(copy)}
    try:
        done = subprocess.run(
            [*command, *paths],
            cwd=copy,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            preexec_fn=limit_memory,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "timed out", ""
    return "failed" if done.returncode else "passed", done.stdout[-2000:]


def copy_tree(root: Path, target: Path) -> Path:
    ignored = shutil.ignore_patterns(".git", "cache", "__pycache__", ".*_cache", "site")
    shutil.copytree(root, target, ignore=ignored)
    return target


def read_room(text: str, root: Path) -> Room:
    path, _, tests = text.partition("=")
    inside = Path(path)
    if not (root / PACKAGE / path).exists():
        raise SystemExit(
            f"There is no {root / PACKAGE / path}: give the rooms by --rooms."
        )
    mirror = inside.parent / f"test_{inside.name}" if inside.suffix else inside
    return Room(path, tuple(tests.split(",")) if tests else (f"tests/{mirror}",))


def seconds_unchanged(room: Room, copy: Path) -> float:
    """Returns how long a room's tests take; they have to pass before one may fail."""
    start = time.monotonic()
    outcome, output = run(copy, room.order(copy), None)
    seconds = time.monotonic() - start
    print(f"unchanged  {outcome}  {seconds:4.0f} s  {room.path}", flush=True)
    if outcome != "passed":
        raise SystemExit(f"{output}\nThe tests of {room.path} fail without a change.")
    return seconds


class Judge:
    """Runs changes against tests, several at once, each in a copy of its own."""

    def __init__(self, root: Path, copies: Sequence[Path], rooms: Sequence[Room]):
        self.root = root
        self.rooms = {
            file.relative_to(root).as_posix(): room
            for room in rooms
            for file in room.files(root)
        }
        self.seconds = {room: seconds_unchanged(room, copies[0]) for room in rooms}
        self.copies: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for copy in copies:
            self.copies.put(copy)

    def survives(self, change: Change) -> bool:
        """Whether no test notices a change."""
        copy = self.copies.get()
        place = copy / change.path
        source = place.read_bytes()
        room = self.rooms[change.path]
        start = time.monotonic()
        try:
            place.write_bytes(change.applied(source))
            limit = 300 + 4 * self.seconds[room]
            outcome, _ = run(copy, room.order(copy, change.path), limit)
        finally:
            place.write_bytes(source)
            self.copies.put(copy)
        word = "SURVIVED" if outcome == "passed" else "killed  "
        why = " (timed out)" if outcome == "timed out" else ""
        print(
            f"{word} {time.monotonic() - start:5.0f} s  "
            f"{change.path}:{change.line}  {change.kind}{why}",
            flush=True,
        )
        return outcome == "passed"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    here = Path(__file__).resolve().parents[1]
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--count", type=int, default=80, help="how many changes")
    parser.add_argument("--jobs", type=int, default=1, help="how many at once")
    parser.add_argument("--root", type=Path, default=here, help="another checkout")
    parser.add_argument("--rooms", nargs="+", default=ROOMS, help="see above")
    parser.add_argument("--list", action="store_true", help="only show the changes")
    return parser.parse_args()


def main() -> int:
    """Returns the exit status: whether more survive than may."""
    options = arguments()
    root = options.root.resolve()
    rooms = [read_room(text, root) for text in options.rooms]
    files = [
        File(path.relative_to(root).as_posix(), path.read_bytes())
        for room in rooms
        for path in room.files(root)
    ]
    sources = {file.path: file.source for file in files}
    changes = [change for file in files for change in file.changes()]
    drawn = draw(changes, options.count, options.seed)
    print(f"{len(drawn)} of {len(changes)} changes, seed {options.seed}", flush=True)
    if options.list:
        for change in drawn:
            print(f"\n{change.path}:{change.line}  {change.kind}")
            print(change.difference(sources[change.path]))
        return 0
    program_cache.switch_on()
    with (
        tempfile.TemporaryDirectory(prefix="mutants-") as folder,
        concurrent.futures.ThreadPoolExecutor(options.jobs) as pool,
    ):
        copies = [
            copy_tree(root, Path(folder) / str(number) / root.name)
            for number in range(options.jobs)
        ]
        survives = Judge(root, copies, rooms).survives
        survivors = [
            c
            for c, alive in zip(drawn, pool.map(survives, drawn), strict=True)
            if alive
        ]
    share = len(survivors) / max(len(drawn), 1)
    print(f"\n{len(survivors)} of {len(drawn)} survived: {share:.1%}")
    for change in survivors:
        print(f"\n{change.path}:{change.line}  {change.kind}")
        print(change.difference(sources[change.path]))
    return int(share > MOST_SURVIVORS)


if __name__ == "__main__":
    sys.exit(main())
