"""Sixteen numbers at once for numba: the vector arithmetic that its loops alone do not reach.

Each function below is one LLVM instruction (or a few) on a vector of sixteen, so the code that uses them is
compiled to the machine's own vectors, AVX-512, AVX2 or NEON, without a compiler on the machine. They can be
called inside numba functions only. Addresses are plain integers: what is at them, the caller must know.

They are worth their lines: the same written as plain loops, fused multiply-adds allowed, takes 4.3 to 8.3 times the CPU, and
with the vertical sums in loops that LLVM can make vectors of by itself 2.7 to 3.7 times, on one thread as on two (1.3 ms
become 10.8 and 4.8 for a photo from 460 to 224; positions and weights alone take 0.7 so).
"""

# numba and llvmlite have no types for checkers; the one user of this file is `numba_loops`, and what calls that is typed.
# pyright: basic
from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

LANES = 16
_BYTE, _INT, _LONG = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_FLOAT, _DOUBLE = ir.FloatType(), ir.DoubleType()


class Lanes(types.Type):
    """Sixteen float32 or float64, held in registers."""

    def __init__(self, name: str, element: Any) -> None:
        self.vector = ir.VectorType(element, LANES)
        super().__init__(name=name)


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, lanes: Lanes) -> None:
        super().__init__(manager, lanes, lanes.vector)


floats = Lanes("SixteenFloats", _FLOAT)
doubles = Lanes("SixteenDoubles", _DOUBLE)


def _at(b: Any, address: Any, element: Any) -> Any:
    return b.inttoptr(address, element.as_pointer())


def _shuffle(b: Any, x: Any, y: Any, order: list[int]) -> Any:
    return b.shuffle_vector(x, y, ir.Constant(ir.VectorType(_INT, LANES), order))


def _spread(b: Any, x: Any) -> Any:
    empty = ir.Constant(ir.VectorType(x.type, LANES), ir.Undefined)
    return _shuffle(b, b.insert_element(empty, x, ir.Constant(_INT, 0)), empty, [0] * LANES)


def _library(name: str, result: Any, b: Any, args: list[Any]) -> Any:
    kind = ir.FunctionType(result, [a.type for a in args])
    return b.call(cgutils.get_or_insert_function(b.module, kind, name), args)


# To and from memory


@intrinsic
def load(typing, address):
    """Sixteen float32 at an address."""
    return floats(types.intp), lambda c, b, s, a: b.load(_at(b, a[0], floats.vector), align=4)


@intrinsic
def load_bytes(typing, address):
    """Sixteen bytes at an address, as floats."""

    def code(c, b, s, a):
        held = b.load(_at(b, a[0], ir.VectorType(_BYTE, LANES)), align=1)
        return b.sitofp(b.zext(held, ir.VectorType(_INT, LANES)), floats.vector)

    return floats(types.intp), code


@intrinsic
def load_all(typing, address):
    """The one float32 at an address, sixteen times."""
    return floats(types.intp), lambda c, b, s, a: _spread(b, b.load(_at(b, a[0], _FLOAT), align=4))


@intrinsic
def load_int(typing, address):
    """The int32 at an address, as int64."""
    return types.int64(types.intp), lambda c, b, s, a: b.sext(b.load(_at(b, a[0], _INT), align=4), _LONG)


@intrinsic
def load_long(typing, address):
    """The int64 at an address."""
    return types.int64(types.intp), lambda c, b, s, a: b.load(_at(b, a[0], _LONG), align=8)


def _copier(element: Any) -> Any:
    @intrinsic
    def function(typing, source, destination):
        def code(c, b, s, a):
            b.store(b.load(_at(b, a[0], element), align=1), _at(b, a[1], element), align=1)
            return c.get_dummy_value()

        return types.void(types.intp, types.intp), code

    return function


copy_one, copy_four = _copier(_BYTE), _copier(_INT)


@intrinsic
def store(typing, address, x):
    def code(c, b, s, a):
        b.store(a[1], _at(b, a[0], floats.vector), align=4)
        return c.get_dummy_value()

    return types.void(types.intp, floats), code


@intrinsic
def store_ints(typing, address, x):
    """Whole float64 as sixteen int32."""

    def code(c, b, s, a):
        whole = ir.VectorType(_INT, LANES)
        b.store(b.fptosi(a[1], whole), _at(b, a[0], whole), align=4)
        return c.get_dummy_value()

    return types.void(types.intp, doubles), code


@intrinsic
def store_transposed(typing, rows, first, destination):
    """Sixteen rows of sixteen floats, turned over: lane i of row j goes to lane j of row i of `destination`.

    Row j lies at `first` plus the j-th int64 at `rows`.
    """

    def code(c, b, s, a):
        table, start, to = a
        grid = []
        for j in range(LANES):
            offset = b.load(_at(b, b.add(table, ir.Constant(_LONG, 8 * j)), _LONG), align=8)
            grid.append(b.load(_at(b, b.add(start, offset), floats.vector), align=4))
        step = LANES // 2
        while step:  # swap off-diagonal blocks of 8, then 4, 2, 1
            low = [i if not i & step else LANES + i - step for i in range(LANES)]
            high = [i + step if not i & step else LANES + i for i in range(LANES)]
            turned = list(grid)
            for j in range(LANES):
                if not j & step:
                    turned[j] = _shuffle(b, grid[j], grid[j + step], low)
                    turned[j + step] = _shuffle(b, grid[j], grid[j + step], high)
            grid, step = turned, step // 2
        for j in range(LANES):
            b.store(grid[j], _at(b, b.add(to, ir.Constant(_LONG, 64 * j)), floats.vector), align=4)
        return c.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), code


@intrinsic
def look_up(typing, table, x):
    """A table of float32 read at sixteen positions, linear between its entries; positions are not checked."""

    def code(c, b, s, a):
        index = b.fptosi(a[1], ir.VectorType(_INT, LANES))
        start, pairs = _at(b, a[0], _FLOAT), ir.Constant(ir.VectorType(_LONG, LANES), ir.Undefined)
        for lane in range(LANES):  # an entry and its follower in one load
            where = b.sext(b.extract_element(index, ir.Constant(_INT, lane)), _LONG)
            both = b.load(b.bitcast(b.gep(start, [where]), _LONG.as_pointer()), align=4)
            pairs = b.insert_element(pairs, both, ir.Constant(_INT, lane))
        split = b.bitcast(pairs, ir.VectorType(_FLOAT, 2 * LANES))
        low, high = (_shuffle(b, split, split, list(range(odd, 2 * LANES, 2))) for odd in (0, 1))
        part = b.fsub(a[1], b.sitofp(index, floats.vector))
        return _library("llvm.fma.v16f32", floats.vector, b, [b.fsub(high, low), part, low])

    return floats(types.intp, floats), code


# Making and converting


@intrinsic
def spread(typing, x):
    """One number, sixteen times, of its own width."""
    result = doubles if x == types.float64 else floats
    return result(x), lambda c, b, s, a: _spread(b, a[0])


@intrinsic
def count_from(typing, x):
    """x, x + 1, … x + 15 as float64."""
    steps = ir.Constant(doubles.vector, [float(i) for i in range(LANES)])
    return doubles(types.float64), lambda c, b, s, a: b.fadd(_spread(b, a[0]), steps)


@intrinsic
def narrow(typing, x):
    return floats(doubles), lambda c, b, s, a: b.fptrunc(a[0], floats.vector)


@intrinsic
def widen(typing, x):
    return doubles(floats), lambda c, b, s, a: b.fpext(a[0], doubles.vector)


# Arithmetic


def _binary(operation: str) -> Any:
    @intrinsic
    def function(typing, x, y):
        if isinstance(x, Lanes) and x == y:
            return x(x, y), lambda c, b, s, a: getattr(b, operation)(a[0], a[1])
        return None

    return function


add, subtract, multiply, divide = (_binary(name) for name in ("fadd", "fsub", "fmul", "fdiv"))


def _named(name: str) -> str:
    return f"llvm.{name}.v16f"


@intrinsic
def multiply_add(typing, x, y, z):
    """x·y + z, rounded once."""

    def code(c, b, s, a):
        width = 32 if a[0].type == floats.vector else 64
        return _library(_named("fma") + str(width), a[0].type, b, list(a))

    return x(x, y, z), code


def _unary(name: str) -> Any:
    @intrinsic
    def function(typing, x):
        def code(c, b, s, a):
            width = 32 if a[0].type == floats.vector else 64
            return _library(_named(name) + str(width), a[0].type, b, [a[0]])

        return x(x), code

    return function


absolute: Any = _unary("fabs")
square_root: Any = _unary("sqrt")
round_up: Any = _unary("ceil")


def _choice(relation: str) -> Any:
    @intrinsic
    def function(typing, x, y):
        return x(x, y), lambda c, b, s, a: b.select(b.fcmp_ordered(relation, a[0], a[1]), a[0], a[1])

    return function


larger, smaller = _choice(">"), _choice("<")


@intrinsic
def where_less(typing, x, limit, yes, no):
    """`yes` in the lanes where x < limit, `no` elsewhere."""
    return yes(x, limit, yes, no), lambda c, b, s, a: b.select(b.fcmp_ordered("<", a[0], a[1]), a[2], a[3])


@intrinsic
def largest(typing, x):
    """The largest of sixteen floats."""
    return types.float32(floats), lambda c, b, s, a: _library(
        "llvm.vector.reduce.fmax.v16f32", _FLOAT, b, [a[0]]
    )
