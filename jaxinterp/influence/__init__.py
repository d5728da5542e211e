"""Which training examples a prediction rests on, and what each example is worth."""

from jaxinterp.influence.conjugate_gradient import (
    ConjugateGradient as ConjugateGradient,
)
from jaxinterp.influence.conjugate_gradient import (
    conjugate_gradient as conjugate_gradient,
)
from jaxinterp.influence.curvature import Curvature as Curvature
from jaxinterp.influence.curvature import Hessian as Hessian
from jaxinterp.influence.curvature import Solution as Solution
from jaxinterp.influence.curvature import hessian as hessian
from jaxinterp.influence.ekfac import EkFac as EkFac
from jaxinterp.influence.ekfac import ekfac as ekfac
from jaxinterp.influence.influence_function import influence as influence
from jaxinterp.influence.knn_shapley import ShapleyValues as ShapleyValues
from jaxinterp.influence.knn_shapley import knn_shapley as knn_shapley
from jaxinterp.influence.losses import cross_entropy as cross_entropy
from jaxinterp.influence.losses import squared_error as squared_error
from jaxinterp.influence.trac_in import trac_in as trac_in
from jaxinterp.loop.ranking import Ranking as Ranking
