"""Vectors of floats in kernels: what LLVM's vectoriser misses in short loops, said outright.

A kernel loads 8 or 16 neighbouring float32 of a C-contiguous array as one value, and adds,
subtracts, multiplies and divides such values lane by lane, each operation rounded as that of a
single float is; a float beside lanes counts for every lane. LLVM makes of them what the processor
has: one register or several. Indices are not checked, and negative ones do not wrap around.

Bytes come in as floats: ``between16`` has how many levels lie between those of two arrays.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import extending
from numba.core import cgutils, types
from numba.extending import lower_builtin, models, register_model, type_callable

intrinsic: Any = extending.intrinsic  # which gives a function of one argument less


class Lanes(types.Type):
    """The type of a vector of ``count`` float32."""

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(f"float32x{count}")


@register_model(Lanes)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, ir.VectorType(ir.FloatType(), kind.count))


def _spread(context: Any, builder: Any, value: Any, given: Any, kind: Any) -> Any:
    """Return lanes as they are, and a number in every lane."""
    if isinstance(given, Lanes):
        return value
    value = context.cast(builder, value, given, types.float32)
    lanes = ir.VectorType(ir.FloatType(), kind.count)
    one = builder.insert_element(ir.Constant(lanes, ir.Undefined), value, ir.IntType(32)(0))
    return builder.shuffle_vector(one, one, ir.VectorType(ir.IntType(32), kind.count)(None))


def _typing(_: Any) -> Callable[[Any, Any], Any]:
    def typer(a: Any, b: Any) -> Any:
        kinds = [kind for kind in (a, b) if isinstance(kind, Lanes)]
        others = [kind for kind in (a, b) if not isinstance(kind, (Lanes, types.Float))]
        return kinds[0] if kinds and not others and len(set(kinds)) == 1 else None

    return typer


def _lowering(name: str) -> Callable[..., Any]:
    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pairs = zip(args, sig.args, strict=True)
        a, b = (_spread(context, builder, x, kind, sig.return_type) for x, kind in pairs)
        return getattr(builder, name)(a, b)

    return lower


for _operator, _name in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    type_callable(_operator)(_typing)
    for _kinds in ((Lanes, Lanes), (Lanes, types.Float), (types.Float, Lanes)):
        lower_builtin(_operator, *_kinds)(_lowering(_name))


def _place(context: Any, builder: Any, sig: Any, args: Any, lanes: Any) -> Any:
    """Return the pointer to ``lanes`` at ``array[at]``, ``at`` a number or a pair."""
    kind, at = sig.args[:2]
    values, kinds = [args[1]], [at]
    if isinstance(at, types.BaseTuple):
        values, kinds = cgutils.unpack_tuple(builder, args[1]), list(sig.args[1])
    indices = [
        context.cast(builder, value, k, types.intp) for value, k in zip(values, kinds, strict=True)
    ]
    array = context.make_array(kind)(context, builder, args[0])
    pointer = cgutils.get_item_pointer(context, builder, kind, array, indices, wraparound=False)
    return builder.bitcast(pointer, lanes.as_pointer())


def _zeros(count: int) -> Any:
    @intrinsic
    def zeros(_: Any) -> Any:
        def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return ir.VectorType(ir.FloatType(), count)(None)

        return Lanes(count)(), lower

    return zeros


def _load(count: int) -> Any:
    @intrinsic
    def load(_: Any, array: Any, at: Any) -> Any:
        def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            lanes = ir.VectorType(ir.FloatType(), count)
            return builder.load(_place(context, builder, sig, args, lanes), align=4)

        return Lanes(count)(array, at), lower

    return load


zeros8, zeros16 = _zeros(8), _zeros(16)
load8, load16 = _load(8), _load(16)


@intrinsic
def store(_: Any, array: Any, at: Any, lanes: Any) -> Any:
    """Write lanes to ``array[at]`` and behind."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = ir.VectorType(ir.FloatType(), lanes.count)
        builder.store(args[2], _place(context, builder, sig, args, kind), align=4)
        return context.get_dummy_value()

    return types.void(array, at, lanes), lower


@intrinsic
def between16(_: Any, a: Any, at: Any, b: Any, to: Any) -> Any:
    """Return how many levels lie between 16 uint8 of ``a[at]`` and behind and those of ``b[to]``.

    That is ``max(0, |a - b| - 1)``: what was rounded down to these levels differs by more.
    """

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        lanes = ir.VectorType(ir.IntType(8), 16)
        x, y = (
            builder.load(_place(context, builder, typing, given, lanes), align=1)
            for typing, given in ((types.void(a, at), args[:2]), (types.void(b, to), args[2:]))
        )
        kind = ir.FunctionType(lanes, [lanes, lanes])
        less = cgutils.get_or_insert_function(builder.module, kind, "llvm.usub.sat.v16i8")
        apart = builder.or_(builder.call(less, [x, y]), builder.call(less, [y, x]))
        apart = builder.call(less, [apart, ir.Constant(lanes, [1] * 16)])
        whole = builder.zext(apart, ir.VectorType(ir.IntType(32), 16))
        return builder.uitofp(whole, ir.VectorType(ir.FloatType(), 16))

    return Lanes(16)(a, at, b, to), lower


@intrinsic
def below(_: Any, lanes: Any, limit: Any) -> Any:
    """Return which lanes are below a number, as the bits of a whole number."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        limits = _spread(context, builder, args[1], limit, lanes)
        bits = builder.fcmp_ordered("<", args[0], limits)
        return builder.zext(builder.bitcast(bits, ir.IntType(lanes.count)), ir.IntType(64))

    return types.int64(lanes, limit), lower


@intrinsic
def lowest(_: Any, bits: Any) -> Any:
    """Return the place of the lowest bit that is set."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.IntType(1)(1))

    return types.int64(types.int64), lower


@intrinsic
def total(_: Any, lanes: Any) -> Any:
    """Return the sum of the lanes: the halves are added until one is left."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        found, count = args[0], lanes.count
        while count > 1:
            count //= 2
            kind = ir.VectorType(ir.IntType(32), count)
            sides = (list(range(count)), list(range(count, 2 * count)))
            parts = [
                builder.shuffle_vector(found, found, ir.Constant(kind, side)) for side in sides
            ]
            found = builder.fadd(*parts)
        return builder.extract_element(found, ir.IntType(32)(0))

    return types.float32(lanes), lower


@intrinsic
def as_bits(_: Any, value: Any) -> Any:
    """Return the bits of a float32, those of the sign on its left."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.sext(builder.bitcast(args[0], ir.IntType(32)), ir.IntType(64))

    return types.int64(types.float32), lower


@intrinsic
def as_float(_: Any, bits: Any) -> Any:
    """Return the float32 of the lower 32 bits."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.bitcast(builder.trunc(args[0], ir.IntType(32)), ir.FloatType())

    return types.float32(types.int64), lower
