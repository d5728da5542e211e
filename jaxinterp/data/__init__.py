"""Tasks whose true explanation is known, and small real data sets.

A task is a pure function of a random key and a number of examples. It returns inputs,
labels and the truth: what an ideal explanation of a model that solves the task finds.
"""

from jaxinterp.data.brackets import Dyck as Dyck
from jaxinterp.data.brackets import dyck as dyck
from jaxinterp.data.distractor import LinearDistractor as LinearDistractor
from jaxinterp.data.distractor import linear_distractor as linear_distractor
from jaxinterp.data.geometry import COLORS as COLORS
from jaxinterp.data.geometry import PARTS as PARTS
from jaxinterp.data.geometry import SHAPES as SHAPES
from jaxinterp.data.geometry import TEXTURES as TEXTURES
from jaxinterp.data.images import Failure as Failure
from jaxinterp.data.images import ImageBatch as ImageBatch
from jaxinterp.data.images import ImageBatches as ImageBatches
from jaxinterp.data.images import image_batches as image_batches
from jaxinterp.data.mislabeled import Mislabeled as Mislabeled
from jaxinterp.data.mislabeled import mislabeled as mislabeled
from jaxinterp.data.products import Gate as Gate
from jaxinterp.data.products import SobolG as SobolG
from jaxinterp.data.sequences import Evidence as Evidence
from jaxinterp.data.sequences import Induction as Induction
from jaxinterp.data.sequences import ModularAddition as ModularAddition
from jaxinterp.data.sequences import evidence as evidence
from jaxinterp.data.sequences import induction as induction
from jaxinterp.data.sequences import modular_addition as modular_addition
from jaxinterp.data.sets import LabeledImages as LabeledImages
from jaxinterp.data.sets import RealSet as RealSet
from jaxinterp.data.sets import breast_cancer as breast_cancer
from jaxinterp.data.sets import diabetes as diabetes
from jaxinterp.data.sets import digits as digits
from jaxinterp.data.sets import mnist as mnist
from jaxinterp.data.shapes import Shapes as Shapes
from jaxinterp.data.shapes import shapes as shapes
from jaxinterp.data.tabular import Additive as Additive
from jaxinterp.data.tabular import Ishigami as Ishigami
from jaxinterp.data.tabular import SobolIndices as SobolIndices
from jaxinterp.data.watermark import Watermark as Watermark
from jaxinterp.data.watermark import watermark as watermark
