"""The address of every node and value: the module path, then the operation.

A module that does one thing (`Conv_0`) is the address of that thing; otherwise
operations are counted within their module: `Block_0/relu`, `Block_0/relu_1`. A module
that runs a second time is `Conv_0@1`, and so is the path of all in it:
`Block_0@1/relu`. Where the trace has no module paths, an operation is named by the
weights that it reads: `layers/0` if it reads `variables["layers"][0]["w"]`.
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
from jaxinterp.tracing.recognition.grouping import Group
from jaxinterp.tracing.recognition.operation_names import operation

# What an adapter writes instead of the slash in the path of a module in a list,
# `layers/1`: that is one scope, since a list has no runs to be numbered. Addresses have
# a slash there.
WITHIN = "\u2215"

# The scope in which an adapter runs what stands in front of a model: it is no module.
PREPROCESS = "preprocess"


@dataclasses.dataclass(frozen=True)
class Module:
    """One run of a module.

    Attributes:
        scope: the path of the module in the trace; empty outside of all modules.
        label: the path with the numbers of the runs, `Block_0@1`.
    """

    scope: str = ""
    label: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Name:
    """What a value is called, before the same names get numbers.

    Attributes:
        address: module path and operation.
        separator: what is written before the number if several values have the same
            address: `"@"` after a module, `"_"` after an operation.
        value: the value, which `capture` returns at that address.
        module: the run of the module that computes the value.
    """

    address: str
    separator: str
    value: Value
    module: Module


def name_nodes(
    flow: Flow, groups: list[Group], parameters: Mapping[Value, str], module: Module
) -> tuple[dict[Group, Name], list[Name]]:
    """Returns the name of every node, and the other names, not yet unique.

    Args:
        flow: the program that holds the nodes.
        groups: the groups of equations that are its nodes, in network order.
        parameters: for each value that is a leaf of `variables`, the path of the leaf.
        module: for the body of a loop, the run of the module that holds the loop.

    Returns:
        The name of each node; and the names of values inside of nodes (modules whose
        output is not that of a node, and tags of `checkpoint_name`).
    """
    owners = {index: group for group in groups for index in group.equations}
    runs = _Runs(flow, parameters, module, owners)
    outputs = _module_outputs(flow, runs)
    alone = Counter(
        runs.label(_anchor(d)) for d in groups if not _is_structural(flow, d)
    )
    names: dict[Group, Name] = {}
    others: list[Name] = []
    for group in groups:
        anchor = _anchor(group)
        label, inner = runs.label(anchor), runs.module(anchor)
        (*_, value) = flow.program.equations[max(group.core)].outputs
        if _is_module(flow, runs, group, alone):
            whole = outputs.pop(label, value)
            # If weights alone name the module, its value is that of the whole node.
            is_bare = label and runs.leaves.get(anchor) == inner.scope
            names[group] = Name(label, "@", value if is_bare else whole, inner)
        else:
            name = runs.leaf_name(anchor) or operation(flow, group, owners)
            address = _tag(flow, group.last) or f"{label}/{name}".lstrip("/")
            names[group] = Name(address, "_", value, inner)
        for index in sorted(group.equations - {group.last}):
            if tag := _tag(flow, index):
                (value,) = flow.program.equations[index].outputs
                others.append(Name(tag, "_", value, inner))
    others += [Name(label, "@", value, module) for label, value in outputs.items()]
    return names, others


def unique_addresses(names: Iterable[Name]) -> dict[Name, str]:
    """Returns the address of each name, numbered where several are the same.

    Args:
        names: the names of all values that have one, in network order. Modules get
            their addresses before operations do.
    """
    uses: Counter = Counter()
    names = list(names)
    ordered = sorted(names, key=lambda name: name.separator != "@")
    addresses = {name: _unique(name, uses) for name in ordered}
    return {name: addresses[name] for name in names}


def _unique(name: Name, uses: Counter) -> str:
    """The first address of a name, with a number if need be, that is not in use."""
    number, address = uses[name.address], name.address
    while number and uses[address]:
        address = f"{name.address}{name.separator}{number}"
        number += 1
    uses[name.address] = max(number, 1)
    uses[address] = max(uses[address], 1)
    return address


def short_names(addresses: Iterable[str]) -> dict[str, str]:
    """Returns the addresses without the name of the model, if it has one.

    It has one if all modules lie in a single one, as those of a linen model do:
    `conv2` is `GoogLeNet/conv2`.

    Args:
        addresses: every address of a graph.

    Returns:
        For each address the short one, where that is not the address of something else.
    """
    distinct = set(addresses)
    roots = {address.partition("/")[0] for address in distinct if "/" in address}
    roots -= {PREPROCESS}
    if len(roots) != 1:
        return {}
    (root,) = roots
    inside = [address for address in distinct if address.startswith(f"{root}/")]
    rests = {address: address.partition("/")[2] for address in inside}
    return {a: rest for a, rest in rests.items() if rest and rest not in distinct}


def _anchor(group: Group) -> int:
    """The equation of a node that says which module it belongs to."""
    return group.last if group.kernel is None else group.kernel


def _is_structural(flow: Flow, group: Group) -> bool:
    outputs = flow.program.equations[group.last].outputs
    return group.role is Role.INDEXING or not any(o.is_inexact for o in outputs)


def _is_module(flow: Flow, runs: _Runs, group: Group, alone: Counter) -> bool:
    """Whether a node is all that its module does, and so has the module's name."""
    anchor = _anchor(group)
    if _is_structural(flow, group) or group.role is Role.LOOP:
        return False
    return runs.is_leaf(anchor) and alone[runs.label(anchor)] == 1


def _tag(flow: Flow, index: int) -> str:
    """The name that `checkpoint_name` gives to an equation, if it does."""
    equation = flow.program.equations[index]
    return equation.params["name"] if equation.primitive is p.name_p else ""


class _Runs:
    """Which run of which modules each active equation belongs to.

    Attributes:
        flow: the program.
        owners: for the index of each equation that has a node, the node's group.
        paths: for each active equation, its path below the loop that it is in.
        leaves: for an equation without a scope, the path of the parameter it reads.
        modules: for each active equation, the runs of modules around it, outer first.
        parents: the paths of modules that hold other modules.
    """

    def __init__(
        self,
        flow: Flow,
        parameters: Mapping[Value, str],
        module: Module,
        owners: Mapping[int, Group],
    ):
        self.flow = flow
        self.owners = owners
        self.paths: dict[int, tuple[str, ...]] = {}
        self.leaves: dict[int, str] = {}
        self.modules: dict[int, list[Module]] = {}
        for index, equation in enumerate(flow.program.equations):
            if flow.is_active(index):
                scope = equation.scope.removeprefix(module.scope).lstrip("/")
                self.paths[index] = tuple(scope.split("/")) if scope else ()
                self.modules[index] = [module]
                if not equation.scope and not equation.bodies:
                    self.leaves[index] = _provenance(flow, equation, parameters)
        self.parents = {p[:i] for p in self.paths.values() for i in range(len(p))}
        self._number(list(self.paths), 0, module)
        self._number_leaves()

    def _number_leaves(self) -> None:
        """Numbers the runs of modules that are known by their weights alone."""
        runs: Counter = Counter()
        reads: set[tuple[str, str, int]] = set()
        for index, leaf in self.leaves.items():
            module = leaf.rpartition("/")[0] or leaf
            is_kernel = self._kind(index) in (Kind.KERNEL, Kind.LOOKUP)
            is_block = index in self.owners and index in self.owners[index].products[1:]
            if not module or not (is_kernel or module != leaf):
                continue
            is_again = (module, leaf, runs[module]) in reads
            if is_kernel and is_again and not is_block:
                runs[module] += 1
            reads.add((module, leaf, runs[module]))
            label = f"{module}@{runs[module]}" if runs[module] else module
            self.modules[index].append(Module(module, label))

    def _number(self, indices: list[int], depth: int, outer: Module) -> None:
        """Numbers the runs of the modules that one run of a module holds."""
        counts: Counter = Counter()

        def piece_of(index: int) -> str:
            return "".join(self.paths[index][depth : depth + 1])

        for piece, group in itertools.groupby(indices, piece_of):
            if not piece:
                continue
            stretch = list(group)
            is_model = outer == Module() and len(stretch) == len(self.paths)
            for run in self._runs(stretch, is_model):
                number = f"@{counts[piece]}" if counts[piece] else ""
                counts[piece] += 1
                inner = Module(
                    f"{outer.scope}/{piece}".lstrip("/"),
                    f"{outer.label}/{piece}{number}".lstrip("/").replace(WITHIN, "/"),
                )
                for index in run:
                    self.modules[index].append(inner)
                self._number(run, depth + 1, inner)

    def _runs(self, stretch: list[int], is_model: bool) -> Iterator[list[int]]:
        """Splits consecutive equations of one module where they repeat: its runs."""
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
        """The parameter with which an equation contracts its activation."""
        if self._kind(index) not in (Kind.KERNEL, Kind.LOOP):
            return None
        values = self.flow.program.equations[index].values
        origins = (_origin(self.flow, v) for v in values if v not in self.flow.active)
        return next((v for v in origins if v not in self.flow.producer), None)

    def label(self, index: int) -> str:
        """The path of an equation's module, with the numbers of its runs."""
        return self.modules[index][-1].label

    def module(self, index: int) -> Module:
        """The innermost run of a module that an equation belongs to."""
        return self.modules[index][-1]

    def is_leaf(self, index: int) -> bool:
        """Whether an equation belongs to a module that holds no other module."""
        is_named = len(self.modules[index]) > 1
        path = self.paths[index]
        return is_named and (not path or path not in self.parents)

    def leaf_name(self, index: int) -> str:
        """The name of the kernel, where a module is known by its weights alone."""
        is_kernel = self._kind(index) in (Kind.KERNEL, Kind.LOOKUP)
        return self.leaves.get(index, "").rpartition("/")[2] if is_kernel else ""


def _origin(flow: Flow, value: Value) -> Value:
    """The value of which another is a copy, in another shape or dtype."""
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


def weights_module(
    flow: Flow, index: int, parameters: Mapping[Value, str]
) -> tuple[str, str]:
    """Returns the scope of an equation, and the module whose weights it reads.

    Args:
        flow: the program of the equation.
        index: the index of the equation.
        parameters: for each value that is a leaf of `variables`, the path of the leaf.
    """
    equation = flow.program.equations[index]
    leaf = _provenance(flow, equation, parameters)
    return equation.scope, leaf.rpartition("/")[0] or leaf


def _module_outputs(flow: Flow, runs: _Runs) -> dict[str, Value]:
    """The last value that leaves each run of each module, in network order."""
    outputs: dict[str, Value] = {}
    for index, (_, *modules) in runs.modules.items():
        for output in flow.program.equations[index].outputs:
            if not output.is_inexact:
                continue
            readers = flow.readers.get(output, ())
            for module in reversed(modules):  # inner modules first
                if not all(module in runs.modules.get(r, ()) for r in readers):
                    outputs.pop(module.label, None)
                    outputs[module.label] = output
    return outputs


def parameter_paths(program: Program, leaves: Mapping[Value, str]) -> dict[Value, str]:
    """Returns the path of the parameter that each value is, also in bodies of loops.

    Args:
        program: a traced function.
        leaves: for each input that is a leaf of `variables`, the path of the leaf.
    """
    paths = dict(leaves)
    for equation in program.equations:
        if equation.bodies:
            for body, enter, _ in loop_bindings(equation):
                inner = {i: paths[o] for o, i in enter if o in paths}
                paths.update(parameter_paths(body, inner))
    return paths
