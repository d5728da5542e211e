"""Inputs that a unit responds to: made by gradient ascent, or found among real ones.

- `optimize/` makes images, `editing/` makes them from images.
- `parametrizations/` turns numbers into images, `transforms/` varies them at each step,
  `regularizers/` penalizes noise, `comparisons/` has objectives that compare images.
- `responses/` finds what a unit responds to: examples, stimuli, receptive fields.
- `quality/` measures how good optimized images are.
"""

from jaxinterp.featurevis.comparisons.alignment import alignment as alignment
from jaxinterp.featurevis.comparisons.caricature import caricature as caricature
from jaxinterp.featurevis.comparisons.diversity import diversity as diversity
from jaxinterp.featurevis.comparisons.facet import facet as facet
from jaxinterp.featurevis.comparisons.for_images import for_images as for_images
from jaxinterp.featurevis.comparisons.interpolate import interpolate as interpolate
from jaxinterp.featurevis.comparisons.match import match as match
from jaxinterp.featurevis.comparisons.style import style as style
from jaxinterp.featurevis.editing.accentuate import accentuate as accentuate
from jaxinterp.featurevis.editing.caricatures import caricatures as caricatures
from jaxinterp.featurevis.editing.deepdream import deepdream as deepdream
from jaxinterp.featurevis.editing.invert import invert as invert
from jaxinterp.featurevis.editing.problem import Problem as Problem
from jaxinterp.featurevis.editing.style_transfer import style_transfer as style_transfer
from jaxinterp.featurevis.optimize.faded import faded as faded
from jaxinterp.featurevis.optimize.langevin import langevin as langevin
from jaxinterp.featurevis.optimize.maximize import maximize as maximize
from jaxinterp.featurevis.optimize.result import Result as Result
from jaxinterp.featurevis.parametrizations.ball import ball as ball
from jaxinterp.featurevis.parametrizations.color import (
    fit_color_matrix as fit_color_matrix,
)
from jaxinterp.featurevis.parametrizations.cppn import cppn as cppn
from jaxinterp.featurevis.parametrizations.fourier import fourier as fourier
from jaxinterp.featurevis.parametrizations.from_image import from_image as from_image
from jaxinterp.featurevis.parametrizations.frozen import frozen as frozen
from jaxinterp.featurevis.parametrizations.generator import generator as generator
from jaxinterp.featurevis.parametrizations.maco import fit_spectrum as fit_spectrum
from jaxinterp.featurevis.parametrizations.maco import maco as maco
from jaxinterp.featurevis.parametrizations.parametrization import (
    Parametrization as Parametrization,
)
from jaxinterp.featurevis.parametrizations.pixels import pixels as pixels
from jaxinterp.featurevis.parametrizations.pyramid import pyramid as pyramid
from jaxinterp.featurevis.parametrizations.shared import shared as shared
from jaxinterp.featurevis.parametrizations.stacked import stacked as stacked
from jaxinterp.featurevis.parametrizations.with_alpha import with_alpha as with_alpha
from jaxinterp.featurevis.quality.achieved_scores import BesideNatural as BesideNatural
from jaxinterp.featurevis.quality.achieved_scores import (
    achieved_scores as achieved_scores,
)
from jaxinterp.featurevis.quality.achieved_scores import (
    beside_natural as beside_natural,
)
from jaxinterp.featurevis.quality.image_diversity import (
    image_diversity as image_diversity,
)
from jaxinterp.featurevis.quality.path_similarity import (
    PathSimilarity as PathSimilarity,
)
from jaxinterp.featurevis.quality.path_similarity import (
    path_similarity as path_similarity,
)
from jaxinterp.featurevis.quality.scorecard import Scorecard as Scorecard
from jaxinterp.featurevis.quality.scorecard import SecondNetwork as SecondNetwork
from jaxinterp.featurevis.quality.scorecard import scorecard as scorecard
from jaxinterp.featurevis.quality.spectrum_slope import spectrum_slope as spectrum_slope
from jaxinterp.featurevis.regularizers.blur_penalty import blur_penalty as blur_penalty
from jaxinterp.featurevis.regularizers.boundary_penalty import (
    boundary_penalty as boundary_penalty,
)
from jaxinterp.featurevis.regularizers.frequency_penalty import (
    frequency_penalty as frequency_penalty,
)
from jaxinterp.featurevis.regularizers.norm import norm as norm
from jaxinterp.featurevis.regularizers.opacity_penalty import (
    opacity_penalty as opacity_penalty,
)
from jaxinterp.featurevis.regularizers.penalty_on import penalty_on as penalty_on
from jaxinterp.featurevis.regularizers.prior_distance import (
    prior_distance as prior_distance,
)
from jaxinterp.featurevis.regularizers.total_variation import (
    total_variation as total_variation,
)
from jaxinterp.featurevis.responses.activation_distribution import (
    Distribution as Distribution,
)
from jaxinterp.featurevis.responses.activation_distribution import (
    activation_distribution as activation_distribution,
)
from jaxinterp.featurevis.responses.crops import crops as crops
from jaxinterp.featurevis.responses.dataset_examples import (
    DatasetExamples as DatasetExamples,
)
from jaxinterp.featurevis.responses.dataset_examples import Examples as Examples
from jaxinterp.featurevis.responses.dataset_examples import (
    dataset_examples as dataset_examples,
)
from jaxinterp.featurevis.responses.effective_receptive_field import (
    EffectiveField as EffectiveField,
)
from jaxinterp.featurevis.responses.effective_receptive_field import (
    effective_receptive_field as effective_receptive_field,
)
from jaxinterp.featurevis.responses.first_layer_filters import (
    first_layer_filters as first_layer_filters,
)
from jaxinterp.featurevis.responses.receptive_field import (
    ReceptiveField as ReceptiveField,
)
from jaxinterp.featurevis.responses.receptive_field import (
    receptive_field as receptive_field,
)
from jaxinterp.featurevis.responses.stimuli import Ground as Ground
from jaxinterp.featurevis.responses.stimuli import bars as bars
from jaxinterp.featurevis.responses.stimuli import blobs as blobs
from jaxinterp.featurevis.responses.stimuli import checkerboards as checkerboards
from jaxinterp.featurevis.responses.stimuli import corners as corners
from jaxinterp.featurevis.responses.stimuli import dots as dots
from jaxinterp.featurevis.responses.stimuli import gratings as gratings
from jaxinterp.featurevis.responses.tuning_curve import tuning_curve as tuning_curve
from jaxinterp.featurevis.transforms.blur import blur as blur
from jaxinterp.featurevis.transforms.box_crop import box_crop as box_crop
from jaxinterp.featurevis.transforms.collapse_alpha import (
    collapse_alpha as collapse_alpha,
)
from jaxinterp.featurevis.transforms.crop import crop as crop
from jaxinterp.featurevis.transforms.crop_or_pad import crop_or_pad as crop_or_pad
from jaxinterp.featurevis.transforms.flip import flip as flip
from jaxinterp.featurevis.transforms.jitter import jitter as jitter
from jaxinterp.featurevis.transforms.noise import noise as noise
from jaxinterp.featurevis.transforms.pad import pad as pad
from jaxinterp.featurevis.transforms.recipes import maco_crops as maco_crops
from jaxinterp.featurevis.transforms.recipes import recipe as recipe
from jaxinterp.featurevis.transforms.recipes import (
    xplique_transforms as xplique_transforms,
)
from jaxinterp.featurevis.transforms.resize import resize as resize
from jaxinterp.featurevis.transforms.roll import roll as roll
from jaxinterp.featurevis.transforms.rotate import rotate as rotate
from jaxinterp.featurevis.transforms.scale import scale as scale
from jaxinterp.featurevis.transforms.texture_views import texture_views as texture_views
from jaxinterp.featurevis.transforms.transform import Transform as Transform
from jaxinterp.featurevis.transforms.transform import compose as compose
from jaxinterp.objectives import Objective as Objective
from jaxinterp.objectives import View as View
from jaxinterp.objectives import as_objective as as_objective
from jaxinterp.objectives import channel as channel
from jaxinterp.objectives import custom as custom
from jaxinterp.objectives import direction as direction
from jaxinterp.objectives import layer as layer
from jaxinterp.objectives import neuron as neuron
from jaxinterp.objectives import output as output
from jaxinterp.objectives import schedule as schedule
from jaxinterp.objectives import whitened as whitened
