"""Functions as graphs: trace a model, read it, change it, split it."""

from jaxinterp.tracing.errors import AddressError as AddressError
from jaxinterp.tracing.errors import AmbiguousAddressError as AmbiguousAddressError
from jaxinterp.tracing.errors import EditError as EditError
from jaxinterp.tracing.facts.roles import Role as Role
from jaxinterp.tracing.graph import Graph as Graph
from jaxinterp.tracing.graph import Node as Node
from jaxinterp.tracing.graph import Site as Site
from jaxinterp.tracing.selectors import Selector as Selector
