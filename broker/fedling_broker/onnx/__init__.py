"""Models as ONNX files: a trained one goes out, a float one comes in as a task's first model.

The packages that this needs are an extra of their own, imported by the verbs that ask for it.

    OnnxError
        an ONNX file cannot be made or used; the message says which, where and why
"""

from importlib.util import find_spec

PACKAGES = ("onnx", "onnxruntime")


class OnnxError(Exception):
    """An ONNX file cannot be made or used, or the packages for it are missing."""


def require() -> None:
    """Look for the packages of the extra `onnx`. Raises OnnxError."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise OnnxError(f"needs {' and '.join(missing)}: pip install 'fedling-broker[onnx]'")
