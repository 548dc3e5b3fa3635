"""The scale of a fleet: sums over the samples of many devices become the sums of all.

Plain addition would do if nobody lied. One device that says it has seen nothing but the largest
count would make everybody else's samples a flat line: so no device counts for more samples than the
middle one has, and none deviates from the middle by more than a multiple of what the middle one
does. All of it in whole numbers, and blind to the order of the devices.
"""

from collections.abc import Sequence
from math import isqrt

from fedling_broker.aggregation.limits import FEWEST, middle
from fedling_native import Sums

MAX_TOTAL = 2**31 - 1  # samples, NUMERICS.md section 6
SPREAD = 4  # a device's deviation from the middle counts up to so many times the middle one
ONE = 1 << 16  # a share of 1

Row = tuple[int, int, int]  # samples of a channel, their sum, the sum of their squares


def total_of(devices: Sequence[Sums], *, limited: bool) -> Sums:
    """Add up what devices say. limited: hold each near its neighbours, if there are three."""
    limited = limited and len(devices) >= FEWEST
    columns = _columns(devices, _cap(devices, limited=limited))
    totals = [_held(rows) if limited else _added(rows) for rows in columns]
    count = sum(row[0] for row in columns[0])
    return Sums(count, tuple(total for total, _ in totals), tuple(q for _, q in totals))


def far_off(devices: Sequence[Sums]) -> list[bool]:
    """Tell of each device whether a limit shortens how far it deviates, on any channel."""
    if len(devices) < FEWEST:
        return [False] * len(devices)
    far = [False] * len(devices)
    for rows in _columns(devices, _cap(devices, limited=True)):
        around = [_around(row, _centre(rows)) for row in rows]
        most = _most_spread(around)
        far = [was or _spread(row) > most for was, row in zip(far, around, strict=True)]
    return far


def _cap(devices: Sequence[Sums], *, limited: bool) -> int:
    """Tell for how many samples a device counts at most."""
    cap = MAX_TOTAL // len(devices)
    return min(cap, middle([device.count for device in devices])) if limited else cap


def _columns(devices: Sequence[Sums], cap: int) -> list[list[Row]]:
    """Sort what devices say by channels."""
    return [
        [capped((device.count, device.sums[c], device.squares[c]), cap) for device in devices]
        for c in range(len(devices[0].sums))
    ]


def capped(row: Row, cap: int) -> Row:
    """Make sums of `cap` samples like these, if there are more."""
    count, total, squares = row
    if count <= cap:
        return row
    return cap, _towards_zero(total * cap, count), -(-squares * cap // count)


def _added(rows: Sequence[Row]) -> tuple[int, int]:
    return sum(row[1] for row in rows), sum(row[2] for row in rows)


def _held(rows: Sequence[Row]) -> tuple[int, int]:
    """Add rows, of which none counts as further from the middle than allowed."""
    centre = _centre(rows)
    around = [_around(row, centre) for row in rows]
    most = _most_spread(around)
    total = squares = 0
    for row in around:
        near = _shortened(row, most)
        total += near[1]
        squares += near[2]
    count = sum(row[0] for row in rows)
    return total + count * centre, squares + 2 * centre * total + count * centre**2


def _centre(rows: Sequence[Row]) -> int:
    return middle([(2 * total + count) // (2 * count) for count, total, _ in rows])


def _around(row: Row, centre: int) -> Row:
    """Make the sums of the same samples less `centre`."""
    count, total, squares = row
    return count, total - count * centre, squares - 2 * centre * total + count * centre**2


def _spread(row: Row) -> int:
    """Tell the mean square of a row, in 2^-16."""
    return (row[2] << 16) // row[0]


def _most_spread(rows: Sequence[Row]) -> int:
    """Tell how far a device may spread: of those that see the channel move, the middle sets it."""
    moving = [spread for spread in map(_spread, rows) if spread > 0]
    return SPREAD**2 * middle(moving) if moving else 0


def _shortened(row: Row, most: int) -> Row:
    """Draw all samples of a row so much nearer that they spread no further than allowed."""
    count, total, squares = row
    spread = _spread(row)
    if spread <= most:
        return row
    share = isqrt((most << 32) // spread)
    return count, _towards_zero(total * share, ONE), -(-squares * share**2 // ONE**2)


def _towards_zero(value: int, divisor: int) -> int:
    """Divide so that no sum grows beyond what its squares, which are rounded up, allow."""
    return value // divisor if value >= 0 else -(-value // divisor)
