"""Names the places of a network: the module path, then the operation.

A module that does one thing (`Conv_0`) is the address of that thing; otherwise
operations are counted within their module: `Block_0/relu`, `Block_0/relu_1`. A module
that runs again is `Conv_0@1`, and all in it goes with it: `Block_0@1/relu`. Where the
trace has no module paths, the weights that an operation reads give its name: `layers/0`
for what reads `variables["layers"][0]["w"]`.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from jax.extend.core import primitives as p

from jaxinterp.tracing.facts.flow import Flow
from jaxinterp.tracing.facts.roles import KINDS, Kind, Role
from jaxinterp.tracing.program.loops import loop_bindings
from jaxinterp.tracing.program.program import Equation, Program, Value
from jaxinterp.tracing.recognition.operation_names import operation
from jaxinterp.tracing.recognition.sketch import Draft

# What an adapter writes for the slash of a module in a list, `layers/1`, which is one
# scope: the list is none that would be numbered. Addresses have a slash for it.
WITHIN = "\u2215"

# The scope in which an adapter runs what stands in front of a model: it is no module.
PREPROCESS = "preprocess"


@dataclasses.dataclass(frozen=True)
class Home:
    """The module in which a loop stands that a program is the body of.

    Attributes:
        scope: its path in the trace.
        label: its path with the numbers of its runs.
    """

    scope: str = ""
    label: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Named:
    """A place that has a name.

    Attributes:
        address: module path and operation.
        mark: what stands before the number of a place that would have the same.
        value: what `capture` returns there.
        home: the module that it stands in.
    """

    address: str
    mark: str
    value: Value
    home: Home


def name_nodes(
    flow: Flow, drafts: list[Draft], parameters: Mapping[Value, str], home: Home
) -> tuple[dict[Draft, Named], list[Named]]:
    """Returns the name of every draft, and what else has one, not yet unique.

    Args:
        flow: the program.
        drafts: its nodes, in network order.
        parameters: path of the leaf of `variables` that a value is.
        home: the module of the loop that the program is a body of.
    """
    runs = _Runs(flow, parameters, home)
    outputs = _module_outputs(flow, runs)
    alone = Counter(
        runs.label(_anchor(d)) for d in drafts if not _is_structural(flow, d)
    )
    owners = {index: draft for draft in drafts for index in draft.equations}
    named: dict[Draft, Named] = {}
    others: list[Named] = []
    for draft in drafts:
        anchor = _anchor(draft)
        label, inner = runs.label(anchor), runs.home(anchor)
        (*_, value) = flow.program.equations[draft.last].outputs
        if _is_module(flow, runs, draft, alone):
            whole = outputs.pop(label, value)
            # A weight that lies in no module of its own stands for all that is fused.
            is_bare = label and runs.leaves.get(anchor) == inner.scope
            named[draft] = Named(label, "@", value if is_bare else whole, inner)
        else:
            name = runs.leaf_name(anchor) or operation(flow, draft, owners)
            address = _tag(flow, draft.last) or f"{label}/{name}".lstrip("/")
            named[draft] = Named(address, "_", value, inner)
        for index in sorted(draft.equations - {draft.last}):
            if tag := _tag(flow, index):
                (value,) = flow.program.equations[index].outputs
                others.append(Named(tag, "_", value, inner))
    others += [Named(label, "@", value, home) for label, value in outputs.items()]
    return named, others


def unique_addresses(places: Iterable[Named]) -> dict[Named, str]:
    """Returns the address of each place, numbered where several have the same name.

    Args:
        places: in network order. A module takes its name before any operation does.
    """
    taken: Counter = Counter()
    places = list(places)
    ordered = sorted(places, key=lambda place: place.mark != "@")
    found = {place: _unique(place.address, place.mark, taken) for place in ordered}
    return {place: found[place] for place in places}


def _unique(address: str, mark: str, taken: Counter) -> str:
    number, name = taken[address], address
    while number and taken[name]:
        name = f"{address}{mark}{number}"
        number += 1
    taken[address] = max(number, 1)
    taken[name] = max(taken[name], 1)
    return name


def short_names(addresses: Iterable[str]) -> dict[str, str]:
    """Returns what addresses are without the name of the model, if it has one.

    It has one if all modules lie in a single one, as those of a linen model do:
    `conv2` is `GoogLeNet/conv2`.

    Args:
        addresses: all of a graph.

    Returns:
        From address to the rest of it, where no other address is the same.
    """
    known = set(addresses)
    roots = {address.partition("/")[0] for address in known if "/" in address}
    roots -= {PREPROCESS}
    if len(roots) != 1:
        return {}
    (root,) = roots
    inside = [address for address in known if address.startswith(f"{root}/")]
    rests = {address: address.partition("/")[2] for address in inside}
    return {a: rest for a, rest in rests.items() if rest and rest not in known}


def _anchor(draft: Draft) -> int:
    return draft.last if draft.kernel is None else draft.kernel


def _is_structural(flow: Flow, draft: Draft) -> bool:
    outputs = flow.program.equations[draft.last].outputs
    return draft.role is Role.INDEXING or not any(o.is_inexact for o in outputs)


def _is_module(flow: Flow, runs: _Runs, draft: Draft, alone: Counter) -> bool:
    """Whether a draft is all that its module does, and so has the module's name."""
    anchor = _anchor(draft)
    if _is_structural(flow, draft) or draft.role is Role.LOOP:
        return False
    return runs.is_leaf(anchor) and alone[runs.label(anchor)] == 1


def _tag(flow: Flow, index: int) -> str:
    equation = flow.program.equations[index]
    return equation.params["name"] if equation.primitive is p.name_p else ""


class _Runs:
    """Which run of which module each active equation belongs to."""

    def __init__(self, flow: Flow, parameters: Mapping[Value, str], home: Home):
        self.flow = flow
        self.start = home
        self.paths: dict[int, tuple[str, ...]] = {}
        self.leaves: dict[int, str] = {}
        self.homes: dict[int, list[Home]] = {}
        for index, equation in enumerate(flow.program.equations):
            if flow.is_active(index):
                scope = equation.scope.removeprefix(home.scope).lstrip("/")
                self.paths[index] = tuple(scope.split("/")) if scope else ()
                self.homes[index] = [home]
                if not equation.scope:
                    self.leaves[index] = _provenance(flow, equation, parameters)
        self.parents = {p[:i] for p in self.paths.values() for i in range(len(p))}
        self._number(list(self.paths), 0, home)
        self._number_leaves()

    def _number_leaves(self) -> None:
        """Numbers the runs of modules that are known by their weights alone."""
        runs: Counter = Counter()
        seen: set[tuple[str, str, int]] = set()
        for index, leaf in self.leaves.items():
            module = leaf.rpartition("/")[0] or leaf
            is_kernel = self._kind(index) in (Kind.KERNEL, Kind.LOOKUP)
            if not module or not (is_kernel or module != leaf):
                continue
            if is_kernel and (module, leaf, runs[module]) in seen:
                runs[module] += 1
            seen.add((module, leaf, runs[module]))
            label = f"{module}@{runs[module]}" if runs[module] else module
            self.homes[index].append(Home(module, label))

    def _number(self, indices: list[int], depth: int, home: Home) -> None:
        """Numbers the runs of the modules that stand in one run of a module."""
        counts: Counter = Counter()

        def piece_of(index: int) -> str:
            return "".join(self.paths[index][depth : depth + 1])

        for piece, group in itertools.groupby(indices, piece_of):
            if not piece:
                continue
            stretch = list(group)
            is_model = home == Home() and len(stretch) == len(self.paths)
            for run in self._runs(stretch, is_model):
                number = f"@{counts[piece]}" if counts[piece] else ""
                counts[piece] += 1
                inner = Home(
                    f"{home.scope}/{piece}".lstrip("/"),
                    f"{home.label}/{piece}{number}".lstrip("/").replace(WITHIN, "/"),
                )
                for index in run:
                    self.homes[index].append(inner)
                self._number(run, depth + 1, inner)

    def _runs(self, stretch: list[int], is_model: bool) -> Iterator[list[int]]:
        """Splits what one module does at a stretch where it does the same again."""
        kernels = [k for k in map(self._kernel, stretch) if k is not None]
        number = kernels.count(kernels[0]) if kernels and not is_model else 1
        equations = self.flow.program.equations
        steps = [
            (self.paths[i], equations[i].primitive, self._kernel(i)) for i in stretch
        ]
        for parts in range(number, 0, -1):
            size, rest = divmod(len(stretch), parts)
            if not rest and steps == steps[:size] * parts:
                break
        for start in range(0, len(stretch), size):
            yield stretch[start : start + size]

    def _kind(self, index: int) -> Kind | None:
        return KINDS.get(self.flow.program.equations[index].primitive)

    def _kernel(self, index: int) -> Value | None:
        """The parameter that an equation contracts its activation with."""
        if self._kind(index) not in (Kind.KERNEL, Kind.LOOP):
            return None
        values = self.flow.program.equations[index].values
        origins = (_origin(self.flow, v) for v in values if v not in self.flow.active)
        return next((v for v in origins if v not in self.flow.producer), None)

    def label(self, index: int) -> str:
        """The path of an equation's module, with the numbers of its runs."""
        return self.homes[index][-1].label

    def home(self, index: int) -> Home:
        """The module of an equation."""
        return self.homes[index][-1]

    def is_leaf(self, index: int) -> bool:
        """Whether the equation is of a module that holds no other module."""
        is_named = len(self.homes[index]) > 1
        path = self.paths[index]
        return is_named and (not path or path not in self.parents)

    def leaf_name(self, index: int) -> str:
        """The name of the kernel, where nothing but the weights name a module."""
        is_kernel = self._kind(index) in (Kind.KERNEL, Kind.LOOKUP)
        return self.leaves.get(index, "").rpartition("/")[2] if is_kernel else ""


def _origin(flow: Flow, value: Value) -> Value:
    """The value that another is a copy of, in another shape or dtype."""
    while (at := flow.producer.get(value)) is not None:
        values = flow.program.equations[at].values
        if len(values) != 1:
            break
        (value,) = values
    return value


def _provenance(flow: Flow, equation: Equation, parameters: Mapping[Value, str]) -> str:
    """The path of the leaf of `variables` that an equation reads."""
    weights = (v for v in equation.values if v not in flow.active)
    leaves = (parameters.get(_origin(flow, v), "") for v in weights)
    return next(filter(None, leaves), "")


def _module_outputs(flow: Flow, runs: _Runs) -> dict[str, Value]:
    """The last value that leaves each run of each module, in network order."""
    found: dict[str, Value] = {}
    for index, (_, *homes) in runs.homes.items():
        for output in flow.program.equations[index].outputs:
            if not output.is_inexact:
                continue
            readers = flow.readers.get(output, ())
            for home in reversed(homes):  # inner modules first
                if not all(home in runs.homes.get(r, ()) for r in readers):
                    found.pop(home.label, None)
                    found[home.label] = output
    return found


def parameter_paths(program: Program, leaves: Mapping[Value, str]) -> dict[Value, str]:
    """Returns the path of the parameter that each input of a body stands for.

    Args:
        program: a traced function.
        leaves: the paths of its own inputs.
    """
    paths = dict(leaves)
    for equation in program.equations:
        if equation.bodies:
            for body, enter, _ in loop_bindings(equation):
                inner = {i: paths[o] for o, i in enter if o in paths}
                paths.update(parameter_paths(body, inner))
    return paths
