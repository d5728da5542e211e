"""How good an attribution is: metrics, one file each, one value per example."""

from jaxinterp.metrics.bootstrap import Interval as Interval
from jaxinterp.metrics.bootstrap import bootstrap as bootstrap
from jaxinterp.metrics.compare import Comparison as Comparison
from jaxinterp.metrics.compare import compare as compare
from jaxinterp.metrics.contract import Measure as Measure
from jaxinterp.metrics.convergence_delta import (
    convergence_delta as convergence_delta,
)
from jaxinterp.metrics.curve import Curve as Curve
from jaxinterp.metrics.curve import abpc as abpc
from jaxinterp.metrics.curve import aopc as aopc
from jaxinterp.metrics.curve import area as area
from jaxinterp.metrics.localization import Localization as Localization
from jaxinterp.metrics.localization import localization as localization
from jaxinterp.metrics.localization import localization_auc as localization_auc
from jaxinterp.metrics.localization import pointing_game as pointing_game
from jaxinterp.metrics.localization import relevance_mass as relevance_mass
from jaxinterp.metrics.localization import relevance_rank as relevance_rank
from jaxinterp.metrics.parameter_randomization import Randomization as Randomization
from jaxinterp.metrics.parameter_randomization import (
    parameter_randomization as parameter_randomization,
)
from jaxinterp.metrics.perturbation_curve import deletion as deletion
from jaxinterp.metrics.perturbation_curve import insertion as insertion
from jaxinterp.metrics.perturbation_curve import (
    perturbation_curve as perturbation_curve,
)
from jaxinterp.metrics.rank_correlation import rank_correlation as rank_correlation
from jaxinterp.metrics.references import at_random as at_random
from jaxinterp.metrics.references import edges as edges
from jaxinterp.metrics.references import inverse as inverse
from jaxinterp.metrics.sensitivity import sensitivity as sensitivity
