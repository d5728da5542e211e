"""Functions as graphs: trace a model, read it, change it, split it."""

from jaxinterp.trace.backward import with_rules as with_rules
from jaxinterp.trace.errors import AddressError as AddressError
from jaxinterp.trace.errors import AmbiguousAddressError as AmbiguousAddressError
from jaxinterp.trace.errors import EditError as EditError
from jaxinterp.trace.graph import Graph as Graph
from jaxinterp.trace.graph import Node as Node
from jaxinterp.trace.graph import Site as Site
from jaxinterp.trace.roles import Role as Role
from jaxinterp.trace.selectors import Selector as Selector
from jaxinterp.trace.selectors import at as at
from jaxinterp.trace.selectors import first as first
from jaxinterp.trace.selectors import last as last
from jaxinterp.trace.selectors import of_primitive as of_primitive
from jaxinterp.trace.selectors import of_role as of_role
from jaxinterp.trace.selectors import where as where
from jaxinterp.trace.transform import capture as capture
from jaxinterp.trace.transform import intervene as intervene
from jaxinterp.trace.transform import split as split
from jaxinterp.trace.transform import trace as trace
