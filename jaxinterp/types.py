"""The types that signatures speak in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

ApplyFn = Callable[..., Any]
