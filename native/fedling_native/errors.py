"""What the C library refuses, as an exception."""

from __future__ import annotations

from fedling_native._core import ffi, lib

_NAMES: dict[int, str] = ffi.typeof("enum fdl_error").elements


class NativeError(Exception):
    """The C library refused a call; `name` and `meaning` say why. Nothing has changed then."""

    def __init__(self, code: int) -> None:
        self.code = code
        self.name = _NAMES.get(code, str(code))
        self.meaning = ffi.string(lib.fdl_describe_error(code)).decode()
        super().__init__(f"{self.meaning} ({self.name})")


def check(error: int) -> None:
    """NativeError unless `error` is FDL_OK."""
    if error != lib.FDL_OK:
        raise NativeError(error)
