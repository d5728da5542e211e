"""Functions as graphs: trace a model, read its values, change them, split it.

Here, one transformation a file: `call` (`trace`), `capture`, `intervene`, `split` and
`with_rules`; the result, `graph`; and which sites are meant, `selectors`, `select`;
`attention` finds a model's attention matrices.
- `program/` is a traced function as a flat list of equations, and runs it again; what
  happens in a `scan`, `while` or `cond` is in `program/loops.py`.
- `facts/` says what is known of values before anything runs: what depends on the input,
  what an equation does, signs, axes of the batch, what is read, cost.
- `recognition/` decides what a node is, which role it has, and its address.
- `layer/` is what a rule sees of a node while a model runs.
"""

from jaxinterp.tracing.errors import AddressError as AddressError
from jaxinterp.tracing.errors import AmbiguousAddressError as AmbiguousAddressError
from jaxinterp.tracing.errors import EditError as EditError
from jaxinterp.tracing.facts.roles import Role as Role
from jaxinterp.tracing.graph import Graph as Graph
from jaxinterp.tracing.graph import Node as Node
from jaxinterp.tracing.graph import Site as Site
from jaxinterp.tracing.selectors import Selector as Selector
