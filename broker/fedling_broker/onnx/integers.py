"""The notation of NUMERICS.md section 1 in ONNX operators.

Shifts may differ from example to example. ONNX shifts unsigned numbers only: here a shift is a
product with, or a division by, a power of two out of a table. Its division rounds towards zero, so
what is divided is made positive first.
"""

import numpy as np

from fedling_broker.onnx.graph import Graph, Operand

NOTHING_LEFT = 32  # a shift to the right by so much leaves nothing of 32 bits
PAST_LIMITS = 31  # a shift to the left by so much is past every limit
POWERS = 2 ** np.arange(NOTHING_LEFT + 1, dtype=np.int64)
LIFT = 2**40  # makes any sum positive, and is a multiple of every power


def power(graph: Graph, by: Operand) -> str:
    """2^by, int64; by int64 0..32."""
    return graph.op("Gather", POWERS, by)


def floor_right(graph: Graph, x: Operand, by: Operand) -> str:
    """x >> by, int64; x >= 0, by 0..32."""
    return graph.op("Div", x, power(graph, by))


def right(graph: Graph, x: Operand, by: Operand) -> str:
    """rshift(x, by), to nearest, halves up, int64; |x| < 2^39, by 0..32."""
    unit = power(graph, by)
    half = graph.op("Div", unit, 2)
    lifted = graph.op("Add", graph.op("Add", x, half), LIFT)
    return graph.op("Sub", graph.op("Div", lifted, unit), graph.op("Div", LIFT, unit))


def scaled(graph: Graph, x: Operand, by: Operand, limit: int) -> str:
    """sat(rshift(x, by), limit); |x| <= 2^31, by of either sign, limit <= 2^30."""
    down = right(graph, x, graph.op("Clip", by, 0, NOTHING_LEFT))
    up = power(graph, graph.op("Clip", graph.op("Neg", by), 0, PAST_LIMITS))
    return graph.op("Clip", graph.op("Mul", down, up), -limit, limit)


def ratio(a: int, b: int) -> tuple[int, int]:
    """(m, k) with m in 128..255 and a/b ~ m * 2^-7 * 2^k; a, b > 0."""
    k = a.bit_length() - b.bit_length()
    if a << max(0, -k) < b << max(0, k):
        k -= 1
    dividend, divisor = a << max(0, -k), b << max(0, k)
    m = (256 * dividend + divisor) // (2 * divisor)
    return (128, k + 1) if m == 256 else (m, k)
