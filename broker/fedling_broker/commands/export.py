"""`fedling-broker export`: a model as a file for other programs."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from fedling_broker import onnx
from fedling_broker.commands import installation
from fedling_broker.onnx import OnnxError
from fedling_broker.onnx.snapshot import Snapshot
from fedling_protocol.command import output
from fedling_protocol.exits import Exit

if TYPE_CHECKING:
    from onnx import ModelProto

    from fedling_broker.onnx.compare import Agreement


def run(args: argparse.Namespace) -> Exit:
    """Export a model. Raises OnnxError; then no file was written."""
    onnx.require()
    from fedling_broker.onnx import exact, floating  # they import an extra

    snapshot = _snapshot(args)
    model = floating.float_model(snapshot) if args.float else exact.exact_model(snapshot)
    agreement = _agreement(args, model, snapshot) if args.check else None
    installation.write(args.onnx, model.SerializeToString())
    report = {
        "file": str(args.onnx),
        "task": snapshot.spec.task,
        "version": snapshot.version,
        "model_hash": snapshot.model_hash.hex(),
        "arithmetic": "float32" if args.float else "exact",
        "nodes": len(model.graph.node),
        "bytes": model.ByteSize(),
        "agreement": asdict(agreement) if agreement else None,
    }
    if args.json:
        output.print_json(report)
    else:
        print(
            "{file}: model {version} of task {task}, {arithmetic}, {bytes:,} bytes".format(**report)
        )
        if agreement:
            print(_words(agreement, exact=not args.float))
    return Exit.OK


def _snapshot(args: argparse.Namespace) -> Snapshot:
    with installation.opened(args) as (_, store):
        spec = installation.task(store, args.task).spec
        row = installation.model_row(store, args.task, args.version)
        weights = store.models.bytes_of(row, spec)
        return Snapshot(row.spec(spec), row.version, row.model_hash, row.exponents, weights)


def _agreement(args: argparse.Namespace, model: ModelProto, snapshot: Snapshot) -> Agreement:
    """Compare the file with the kernel. Raises OnnxError if an exact file is not exact."""
    from fedling_broker.onnx import compare

    x = compare.random_examples(snapshot, args.check)
    if args.float:
        return compare.compare_float(model, snapshot, x)
    found = compare.compare_exact(model, snapshot, x)
    if found.exact < found.examples:
        raise OnnxError(
            f"{args.onnx}: not written: onnxruntime computes {found.examples - found.exact:,} of"
            f" {found.examples:,} random examples otherwise than the kernel"
        )
    return found


def _words(agreement: Agreement, exact: bool) -> str:
    examples = f"{agreement.examples:,} random examples, onnxruntime beside the kernel"
    if exact:
        return f"{examples}: every number is the same"
    return (
        f"{examples}: {agreement.labels:,} labels are the same; where they differ, one leads by at"
        f" most {agreement.margin:.1%} of the logits' range"
    )
