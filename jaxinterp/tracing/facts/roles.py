"""What a primitive does (`Kind`), and what a node does (`Role`), in algebraic terms.

`KINDS` classifies every primitive once; which role a group of equations has is decided
in `recognition/`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.extend.core import primitives as p

from jaxinterp.tracing import compat
from jaxinterp.tracing.program.flatten import BARRIER


class Role(enum.StrEnum):
    """What a node does in a network.

    `CONVOLUTION` and `DENSE` are affine maps with a kernel, `SCALE` an elementwise
    affine map, `LINEAR` a fixed linear map (mean, average pool, rotation), `ADD` a sum
    or difference of activations, `PRODUCT`, `QUOTIENT` and `MATMUL` combine two
    activations, `SELECTION` picks among activations by their values, and `INDEXING`
    moves them about.
    """

    CONVOLUTION = "convolution"
    DENSE = "dense"
    SCALE = "scale"
    LINEAR = "linear"
    ADD = "add"
    PRODUCT = "product"
    QUOTIENT = "quotient"
    MATMUL = "matmul"
    ACTIVATION = "activation"
    POINTWISE = "pointwise"
    SOFTMAX = "softmax"
    LOG_SOFTMAX = "log_softmax"
    LOGSUMEXP = "logsumexp"
    NORMALIZATION = "normalization"
    MAX_POOL = "max_pool"
    SELECTION = "selection"
    EMBEDDING = "embedding"
    INDEXING = "indexing"
    LOOP = "loop"
    UNKNOWN = "unknown"


class Kind(enum.Enum):
    """What one primitive does, whatever surrounds it."""

    KERNEL = enum.auto()  # bilinear contraction: an affine map if one side is a weight
    ADDITIVE = enum.auto()  # a + b
    MULTIPLICATIVE = enum.auto()  # a * b
    DIVISION = enum.auto()  # a / b
    NEGATION = enum.auto()
    CAST = enum.auto()  # the same number, in another dtype or without its gradient
    ELEMENTWISE = enum.auto()  # any other function of each entry alone
    EXTREMUM = enum.auto()  # max(a, b), clip
    CHOICE = enum.auto()  # select_n(which, *cases)
    TEST = enum.auto()  # elementwise, with a boolean or integer answer
    SUM = enum.auto()  # fixed linear reductions
    TRANSFORM = enum.auto()  # other fixed linear maps: Fourier, real part
    PICK = enum.auto()  # reductions that pick an entry
    LAYOUT = enum.auto()  # the same entries in another shape
    MOVE = enum.auto()  # entries dropped, repeated or joined
    SCATTER = enum.auto()  # entries added to those of another array
    LOOKUP = enum.auto()  # gather: an embedding where the indices depend on the input
    LOOP = enum.auto()


# Functions of each entry alone.
POINTWISE = frozenset(
    {
        *(Kind.ADDITIVE, Kind.MULTIPLICATIVE, Kind.DIVISION, Kind.NEGATION, Kind.CAST),
        *(Kind.ELEMENTWISE, Kind.EXTREMUM, Kind.CHOICE, Kind.TEST),
    }
)


def _by_primitive(
    table: Mapping[Kind, tuple[Primitive, ...]],
) -> dict[Primitive, Kind]:
    kinds: dict[Primitive, Kind] = {}
    for kind, primitives in table.items():
        for primitive in primitives:
            assert primitive not in kinds, f"{primitive} is listed twice"
            kinds[primitive] = kind
    return kinds


_VECTOR = jax.ShapeDtypeStruct((2,), "float32")

# Primitives that only move entries: of their own, or made of others, by JAX version.
SPLITS = {
    compat.primitive_of(lambda x: lax.split(x, (1, 1)), _VECTOR),
    compat.primitive_of(lambda x: list(jnp.unstack(x)), _VECTOR),
    compat.primitive_of(lambda x: jnp.stack([x, x]), _VECTOR),
    compat.primitive_of(lambda x: jnp.tile(x, 2), _VECTOR),
} - {p.slice_p, p.squeeze_p, p.reshape_p, p.concatenate_p, p.broadcast_in_dim_p}

KINDS: Mapping[Primitive, Kind] = _by_primitive(
    {
        Kind.KERNEL: (p.dot_general_p, p.conv_general_dilated_p),
        Kind.ADDITIVE: (p.add_p, p.sub_p, *compat.existing("add_jaxvals_p")),
        Kind.MULTIPLICATIVE: (p.mul_p,),
        Kind.DIVISION: (p.div_p,),
        Kind.NEGATION: (p.neg_p,),
        Kind.CAST: (
            p.convert_element_type_p,
            p.copy_p,
            p.reduce_precision_p,
            p.device_put_p,
            p.sharding_constraint_p,
            p.name_p,
            BARRIER,
            *compat.existing("stop_gradient_p"),
        ),
        Kind.ELEMENTWISE: (
            *(p.abs_p, p.acos_p, p.acosh_p, p.asin_p, p.asinh_p, p.atan_p, p.atanh_p),
            *(p.bessel_i0e_p, p.bessel_i1e_p, p.cbrt_p, p.ceil_p, p.cos_p, p.cosh_p),
            *(
                p.digamma_p,
                p.erf_p,
                p.erfc_p,
                p.erf_inv_p,
                p.exp_p,
                p.exp2_p,
                p.expm1_p,
            ),
            *(p.floor_p, p.integer_pow_p, p.lgamma_p, p.log_p, p.log1p_p, p.logistic_p),
            *(p.pow_p, p.rem_p, p.round_p, p.rsqrt_p, p.sign_p, p.sin_p, p.sinh_p),
            *(p.sqrt_p, p.square_p, p.tan_p, p.tanh_p, p.atan2_p, p.nextafter_p),
            *compat.existing("log2_p", "one_minus_square_p", "polynomial_p"),
        ),
        Kind.EXTREMUM: (p.max_p, p.min_p, p.clamp_p),
        Kind.CHOICE: (p.select_n_p,),
        Kind.TEST: (
            *(p.eq_p, p.ne_p, p.ge_p, p.gt_p, p.le_p, p.lt_p, p.is_finite_p),
            *(p.and_p, p.or_p, p.not_p, p.xor_p),
        ),
        Kind.SUM: (p.reduce_sum_p, p.reduce_window_sum_p, p.cumsum_p),
        Kind.TRANSFORM: (
            *(p.fft_p, p.real_p, p.imag_p, p.complex_p, p.conj_p, p.scatter_mul_p),
        ),
        Kind.PICK: (
            *(p.reduce_max_p, p.reduce_min_p, p.reduce_window_max_p),
            *(p.reduce_window_min_p, p.argmax_p, p.argmin_p, p.sort_p, p.top_k_p),
            *(p.cummax_p, p.cummin_p, p.scatter_max_p, p.scatter_min_p),
        ),
        Kind.LAYOUT: (
            *(p.reshape_p, p.transpose_p, p.squeeze_p, p.broadcast_in_dim_p),
        ),
        Kind.MOVE: (
            *(p.slice_p, p.dynamic_slice_p, p.dynamic_update_slice_p, p.pad_p),
            *(p.concatenate_p, p.rev_p, p.scatter_p),
            *SPLITS,
        ),
        Kind.SCATTER: (p.scatter_add_p,),
        Kind.LOOKUP: (p.gather_p,),
        Kind.LOOP: (p.scan_p, p.while_p, p.cond_p),
    }
)

# Parts of the names of primitives that run a kernel.
_KERNELS = (
    *("pallas", "triton", "mosaic", "cudnn", "dot_product_attention"),
    *("ffi_call", "custom_call"),
)


def is_opaque(primitive: Primitive) -> bool:
    """Whether a primitive runs a kernel, which JAX does not look into.

    Args:
        primitive: the primitive of an equation.
    """
    return primitive not in KINDS and any(k in primitive.name for k in _KERNELS)
