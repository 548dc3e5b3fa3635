"""The interface by which packets to an address leave this machine, as its kernel tells.

Asked of the kernel by rtnetlink(7), so that rules and further tables count, as in `ip route get`.
"""

import os
import socket
import struct

from fedling_protocol.net.way import Found

# netlink(7), rtnetlink(7): a header, a struct rtmsg, attributes that each begin on four bytes.
_HEADER, _ROUTE, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=8BI"), struct.Struct("=HH")
_REQUEST, _ERROR, _NEW_ROUTE, _GET_ROUTE = 1, 2, 24, 26
_TO, _BY = 1, 4  # RTA_DST, RTA_OIF
_LARGEST, _PATIENCE_S = 65_536, 1.0


def of_route(to: Found) -> str:
    """Name the interface. Sends nothing anywhere. Raises OSError if no route leads there."""
    if to.family == socket.AF_INET6 and to.address[3]:  # an address of one link says which
        return socket.if_indextoname(to.address[3])
    target = socket.inet_pton(to.family, to.address[0])
    attribute = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(target), _TO) + target
    route = _ROUTE.pack(to.family, 8 * len(target), 0, 0, 0, 0, 0, 0, 0)
    size = _HEADER.size + len(route) + len(attribute)
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    with socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(_PATIENCE_S)
        kernel.send(_HEADER.pack(size, _GET_ROUTE, _REQUEST, 1, 0) + route + attribute)
        try:
            return socket.if_indextoname(_index(kernel.recv(_LARGEST)))
        except struct.error as error:
            raise OSError("the kernel's answer ends too soon") from error


def _index(answer: bytes) -> int:
    """The number of the interface in the kernel's answer. Raises OSError."""
    size, kind, *_ = _HEADER.unpack_from(answer)
    if kind == _ERROR:
        (code,) = struct.unpack_from("=i", answer, _HEADER.size)
        raise OSError(-code, os.strerror(-code))
    place = _HEADER.size + _ROUTE.size
    while kind == _NEW_ROUTE and place + _ATTRIBUTE.size <= size:
        length, what = _ATTRIBUTE.unpack_from(answer, place)
        if what == _BY:
            (index,) = struct.unpack_from("=I", answer, place + _ATTRIBUTE.size)
            return int(index)
        place += max(_ATTRIBUTE.size, -(-length // 4) * 4)
    raise OSError("the kernel names no interface")
