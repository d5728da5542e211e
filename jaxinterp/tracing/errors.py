"""The errors of tracing; each message says what to write instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from jaxinterp.checks import shown


class AddressError(ValueError):
    """An address or selector matches no site."""

    def __init__(self, selector: object, addresses: Iterable[str]):
        addresses = list(addresses)
        pattern = getattr(selector, "pattern", str(selector))
        nearest = difflib.get_close_matches(pattern, addresses, n=5, cutoff=0.3)
        tail = pattern.rpartition("/")[2].strip("*")
        nearest += [a for a in addresses if tail and tail in a and a not in nearest][:3]
        lines = "\n".join(f"    {a}" for a in (nearest or addresses[:8]))
        lines = lines or "    (the model computes nothing from its inputs)"
        super().__init__(
            f"No site matches {pattern!r}. The nearest of {len(addresses)} addresses:\n"
            f"{lines}\n"
            "`list(jaxinterp.trace(apply_fn, variables, inputs).sites)` has them all."
            f"{_of_unit(pattern)}"
        )


def _of_unit(pattern: str) -> str:
    """The end of the message if what was given is a unit rather than a site."""
    unit = re.fullmatch(r"(.*):[-\d,\s*]+", pattern)
    if unit is None:
        return ""
    return (
        f"\n{pattern!r} is a unit, and a site is an address alone, {unit[1]!r}. A unit "
        f"is what is explained or maximized: `score={pattern!r}`."
    )


class AmbiguousAddressError(ValueError):
    """An address that must be one site matches several."""

    def __init__(self, selector: object, matches: Iterable[str]):
        matches = list(matches)
        lines = "\n".join(f"    {a}" for a in matches[:8])
        super().__init__(
            f"One site is needed here, and {selector} matches {len(matches)}:\n"
            f"{lines}\n"
            f"Write one of them, such as {matches[0]!r}."
        )


class CompositeError(TypeError):
    """An argument that must be a composite is something else."""

    def __init__(self, value: object, call: str):
        super().__init__(
            f"`composite` must be a Composite, and is {shown(value)}.\n"
            f"Write `{call}`, with the arguments in this order and with the "
            "parentheses of the preset,\n"
            "or a `jaxinterp.rules.Composite([(selector, rule), ...])` of your own."
        )


class BatchAxisError(NotImplementedError):
    """It cannot be told along which axis of an inner array the examples lie."""

    def __init__(self, address: str, line: str, shape: tuple[int, ...], needed: str):
        super().__init__(
            f"{needed} needs to know along which axis of {shape} the examples lie,\n"
            f"and at {address!r} ({line})\n"
            "that cannot be told: they are merged with others there, are inside of\n"
            "a loop, or went through an operation that may mix them.\n"
            "Give that site a rule that does not ask: put a line such as\n"
            f"`(at({address!r}), Epsilon(1e-6))` before the one that chose this rule."
        )


class RuleResultError(TypeError):
    """A rule returns arrays that do not fit the inputs of its site."""

    def __init__(self, rule: object, address: str, line: str, needed: str, result: str):
        super().__init__(
            f"{rule} at {address!r} ({line})\n"
            f"must return an array for each input of the site, of shape {needed},\n"
            f"and returned {result}.\n"
            "Return one array, or a tuple with one for each of several inputs;\n"
            "`jnp.zeros_like(x)` for one that is to receive nothing."
        )


class EditError(ValueError):
    """An edit of `intervene` returns something unlike the activation."""

    def __init__(self, address: str, expected: str, result: str):
        super().__init__(
            f"The edit at {address!r} must return an array like the activation it is\n"
            f"given, {expected}, and returned {result}.\n"
            "Write for example `lambda activation: jnp.zeros_like(activation)`."
        )


class StepOfLoopError(ValueError):
    """A selector means one step of a loop, and a rule is for all of them."""

    def __init__(self, address: str, selector: str, step: str):
        super().__init__(
            f"{selector} would mean {address!r} in {step} of a loop alone, and a "
            "rule holds in every step.\n"
            f"Name the site, at({address!r}), to mean it in all steps, or leave out "
            f"the line with {selector}: `composite.lines` has them all."
        )


class NoDerivativeError(ValueError):
    """No output has a derivative with respect to the input, so relevance is lost."""

    def __init__(self, primitive: str, line: str):
        super().__init__(
            "The derivative of the model with respect to its input ends at "
            f"{primitive}\n({line}), at a step, a cast to integers or a stop, and no "
            "relevance can go on.\n"
            "Give that step a derivative, by `jax.custom_vjp` or a straight-through "
            "estimator,\nor explain an activation before it: `score=` takes objectives."
        )
