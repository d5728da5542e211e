"""How good an attribution is: metrics, one file each, one value per example."""

from jaxinterp.metrics.contract import Measure as Measure
from jaxinterp.metrics.convergence_delta import (
    convergence_delta as convergence_delta,
)
