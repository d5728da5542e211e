"""Which axes of an array are positions: not of examples, nor of channels."""

from __future__ import annotations


def positions_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the lengths of the axes of positions: not of examples, nor of channels.

    Args:
        shape: the shape of an explained array.

    Example:
        >>> positions_of((1, 28, 28, 3)), positions_of((1, 28))
        ((28, 28), (28,))
    """
    return shape[1:-1] if has_channels(shape) else shape[1:]


def has_channels(shape: tuple[int, ...]) -> bool:
    """Returns whether the last axis of an array is one of channels.

    Args:
        shape: the shape of an explained array.

    Example:
        >>> has_channels((1, 28, 28, 3)), has_channels((1, 28))
        (True, False)
    """
    return len(shape) > 2
