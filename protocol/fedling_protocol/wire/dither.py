"""The dither of updates of which only a sum is read (native/NUMERICS.md section 12).

Anyone who knows the plan and the device computes it: it makes an estimate unbiased, and hides
nothing.
"""

import hashlib

_BLOCK = 64  # bytes that one hash gives
_PERSON = b"fedling dither"


def dither(plan: bytes, device: str, count: int) -> bytes:
    """Draw so many bytes for a device's update to a plan.

    Block i is BLAKE2b-512 (RFC 7693) of uint32le(i), keyed with BLAKE2b-256 of the plan's
    identifier, a byte of 0 and the device's identifier, personalised "fedling dither".
    """
    key = hashlib.blake2b(plan + b"\0" + device.encode(), digest_size=32, person=_PERSON).digest()
    blocks = range(-(-count // _BLOCK))
    drawn = (hashlib.blake2b(i.to_bytes(4, "little"), key=key).digest() for i in blocks)
    return b"".join(drawn)[:count]
