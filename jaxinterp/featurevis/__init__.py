"""Inputs that a unit responds to: made by gradient ascent, or found among real ones."""

from jaxinterp.featurevis.achieved import achieved_scores as achieved_scores
from jaxinterp.featurevis.achieved import natural_ratio as natural_ratio
from jaxinterp.featurevis.achieved import success_rate as success_rate
from jaxinterp.featurevis.affine import crop as crop
from jaxinterp.featurevis.affine import crop_or_pad as crop_or_pad
from jaxinterp.featurevis.affine import flip as flip
from jaxinterp.featurevis.affine import jitter as jitter
from jaxinterp.featurevis.affine import pad as pad
from jaxinterp.featurevis.affine import scale as scale
from jaxinterp.featurevis.alpha import collapse_alpha as collapse_alpha
from jaxinterp.featurevis.alpha import opacity_penalty as opacity_penalty
from jaxinterp.featurevis.alpha import with_alpha as with_alpha
from jaxinterp.featurevis.ball import ball as ball
from jaxinterp.featurevis.box_crop import box_crop as box_crop
from jaxinterp.featurevis.canvas import pixels as pixels
from jaxinterp.featurevis.card import Scorecard as Scorecard
from jaxinterp.featurevis.color import fit_color_matrix as fit_color_matrix
from jaxinterp.featurevis.compare import caricature as caricature
from jaxinterp.featurevis.compare import facet as facet
from jaxinterp.featurevis.compare import match as match
from jaxinterp.featurevis.compare import style as style
from jaxinterp.featurevis.cppn import cppn as cppn
from jaxinterp.featurevis.crops import crops as crops
from jaxinterp.featurevis.dataset_examples import Chosen as Chosen
from jaxinterp.featurevis.dataset_examples import DatasetExamples as DatasetExamples
from jaxinterp.featurevis.dataset_examples import dataset_examples as dataset_examples
from jaxinterp.featurevis.direction import cosine as cosine
from jaxinterp.featurevis.direction import direction as direction
from jaxinterp.featurevis.direction import direction_neuron as direction_neuron
from jaxinterp.featurevis.direction import tensor_direction as tensor_direction
from jaxinterp.featurevis.distribution import Distribution as Distribution
from jaxinterp.featurevis.distribution import (
    activation_distribution as activation_distribution,
)
from jaxinterp.featurevis.dream import deepdream as deepdream
from jaxinterp.featurevis.edit import accentuate as accentuate
from jaxinterp.featurevis.edit import caricatures as caricatures
from jaxinterp.featurevis.edit import invert as invert
from jaxinterp.featurevis.edit import style_transfer as style_transfer
from jaxinterp.featurevis.fade import faded as faded
from jaxinterp.featurevis.filters import first_layer_filters as first_layer_filters
from jaxinterp.featurevis.fourier import fourier as fourier
from jaxinterp.featurevis.group import alignment as alignment
from jaxinterp.featurevis.group import diversity as diversity
from jaxinterp.featurevis.group import for_pictures as for_pictures
from jaxinterp.featurevis.group import interpolate as interpolate
from jaxinterp.featurevis.langevin import langevin as langevin
from jaxinterp.featurevis.maco import fit_spectrum as fit_spectrum
from jaxinterp.featurevis.maco import maco as maco
from jaxinterp.featurevis.maximize import Result as Result
from jaxinterp.featurevis.maximize import maximize as maximize
from jaxinterp.featurevis.names import as_objective as as_objective
from jaxinterp.featurevis.norms import l1 as l1
from jaxinterp.featurevis.norms import l2 as l2
from jaxinterp.featurevis.norms import linf as linf
from jaxinterp.featurevis.norms import lp as lp
from jaxinterp.featurevis.objective import Objective as Objective
from jaxinterp.featurevis.objective import View as View
from jaxinterp.featurevis.objective import custom as custom
from jaxinterp.featurevis.objective import schedule as schedule
from jaxinterp.featurevis.outputs import log_probability as log_probability
from jaxinterp.featurevis.outputs import logit as logit
from jaxinterp.featurevis.outputs import probability as probability
from jaxinterp.featurevis.parametrization import Parametrization as Parametrization
from jaxinterp.featurevis.parametrization import from_image as from_image
from jaxinterp.featurevis.parametrization import frozen as frozen
from jaxinterp.featurevis.path_similarity import PathSimilarity as PathSimilarity
from jaxinterp.featurevis.path_similarity import path_similarity as path_similarity
from jaxinterp.featurevis.penalty_at import for_channels as for_channels
from jaxinterp.featurevis.penalty_at import penalty_at as penalty_at
from jaxinterp.featurevis.perturb import blur as blur
from jaxinterp.featurevis.perturb import noise as noise
from jaxinterp.featurevis.perturb import roll as roll
from jaxinterp.featurevis.picture_diversity import (
    picture_diversity as picture_diversity,
)
from jaxinterp.featurevis.prior import generator as generator
from jaxinterp.featurevis.pyramid import pyramid as pyramid
from jaxinterp.featurevis.pyramid import shared as shared
from jaxinterp.featurevis.receptive_field import EffectiveField as EffectiveField
from jaxinterp.featurevis.receptive_field import ReceptiveField as ReceptiveField
from jaxinterp.featurevis.receptive_field import (
    effective_receptive_field as effective_receptive_field,
)
from jaxinterp.featurevis.receptive_field import receptive_field as receptive_field
from jaxinterp.featurevis.recipes import atlas_transforms as atlas_transforms
from jaxinterp.featurevis.recipes import captum_transforms as captum_transforms
from jaxinterp.featurevis.recipes import distill_transforms as distill_transforms
from jaxinterp.featurevis.recipes import lucid_transforms as lucid_transforms
from jaxinterp.featurevis.recipes import maco_crops as maco_crops
from jaxinterp.featurevis.recipes import xplique_transforms as xplique_transforms
from jaxinterp.featurevis.regularizers import blur_penalty as blur_penalty
from jaxinterp.featurevis.regularizers import boundary_penalty as boundary_penalty
from jaxinterp.featurevis.regularizers import frequency_penalty as frequency_penalty
from jaxinterp.featurevis.regularizers import prior_distance as prior_distance
from jaxinterp.featurevis.regularizers import total_variation as total_variation
from jaxinterp.featurevis.resize import resize as resize
from jaxinterp.featurevis.rotate import rotate as rotate
from jaxinterp.featurevis.scorecard import SecondNetwork as SecondNetwork
from jaxinterp.featurevis.scorecard import scorecard as scorecard
from jaxinterp.featurevis.spectrum import spectrum_slope as spectrum_slope
from jaxinterp.featurevis.stacked import stacked as stacked
from jaxinterp.featurevis.stimuli import bars as bars
from jaxinterp.featurevis.stimuli import blobs as blobs
from jaxinterp.featurevis.stimuli import checkerboards as checkerboards
from jaxinterp.featurevis.stimuli import corners as corners
from jaxinterp.featurevis.stimuli import dots as dots
from jaxinterp.featurevis.stimuli import gratings as gratings
from jaxinterp.featurevis.stimuli import tuning_curve as tuning_curve
from jaxinterp.featurevis.texture import texture_views as texture_views
from jaxinterp.featurevis.transform import Transform as Transform
from jaxinterp.featurevis.transform import compose as compose
from jaxinterp.featurevis.units import channel as channel
from jaxinterp.featurevis.units import layer as layer
from jaxinterp.featurevis.units import neuron as neuron
from jaxinterp.featurevis.whitening import whitened as whitened
