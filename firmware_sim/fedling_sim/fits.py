"""`fedling-sim fits`: what a task asks of a board, for people and as JSON."""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from fedling_broker.tasks import task_file
from fedling_broker.tasks.task_file import Task
from fedling_protocol.classes import dataclass
from fedling_protocol.exits import Exit
from fedling_protocol.wire import shapes
from fedling_protocol.wire.refused import Refused
from fedling_sim.board.boards import Board
from fedling_sim.sizing import costs, memory
from fedling_sim.sizing.advice import Limits, advice, in_words
from fedling_sim.sizing.costs import CostTable
from fedling_sim.sizing.estimate import Plan, Round, plan, stack
from fedling_sim.sizing.workload import Job, job_of

EXAMPLES = "training.min_examples of the task"
OPTION = "--examples"


class BatchRefused(ValueError):
    """A batch that the kernel does not take. Says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """All that `fits` tells."""

    task: str
    board: Board
    compiler: str
    job: Job
    round: Round
    examples_from: str
    plan: Plan
    limits: Limits
    shrink: list[str]  # empty: it fits


def run(args: argparse.Namespace) -> int:
    """Print the answer. FAILED: it does not fit."""
    limits = Limits(args.flash, args.ram)
    found = answer(args.task, args.board, limits, args.batch, args.examples)
    if args.json:
        print(json.dumps(record(found)))
    else:
        show(Console(highlight=False), found)
    return Exit.FAILED if found.shrink else Exit.OK


def answer(
    path: Path, board: Board, limits: Limits, batch: int | None, examples: int | None
) -> Answer:
    """Find whether a task file fits a board. Raises SettingsError, BatchRefused, CostsMissing."""
    task, _ = task_file.load_task(path)
    if batch is not None:
        task = with_batch(task, batch)
    job, table = job_of(task), costs.load()
    round_ = Round(task.training.epochs, examples or task.training.min_examples)
    found = plan(job, board.core, table, round_)
    shrink = advice(job, found, limits, lambda other: ram_on(board, other, table))
    return Answer(
        task.name, board, table.compiler, job, round_, OPTION if examples else EXAMPLES, found,
        limits, list(shrink),
    )  # fmt: skip


def with_batch(task: Task, batch: int) -> Task:
    """Change the task's batches. Raises BatchRefused."""
    training = replace(task.training, batch=batch)
    try:
        shapes.check_training(task.spec, training)
    except Refused as refused:
        raise BatchRefused(f"--batch {batch}: {refused.detail}") from refused
    return replace(task, training=training)


def ram_on(board: Board, job: Job, table: CostTable) -> memory.Ram:
    """Tell the RAM that a job takes on a board."""
    return memory.ram(job, table.structs.part, stack(job, table.of(board.core)))


def record(found: Answer) -> dict[str, object]:
    """Make the answer ready for JSON; sizes in bytes."""
    plan, ram = found.plan, found.plan.ram
    return {
        "task": found.task,
        "board": found.board.name,
        "core": found.board.core,
        "compiler": found.compiler,
        "left_out": found.job.left_out,
        "batch": found.job.batch,
        "fits": not found.shrink,
        "shrink": found.shrink,
        "flash": {**asdict(plan.flash), "total": plan.flash.total, "limit": found.limits.flash},
        "ram": {**asdict(ram), "total": ram.total, "limit": found.limits.ram},
        "instructions": {
            "step": plan.step_instructions,
            "example": plan.example_instructions,
            "round": plan.round_instructions,
        },
        "round": {**asdict(found.round), "examples_from": found.examples_from},
        "energy": {
            "round_joules": plan.round_joules,
            "instruction_picojoules": plan.assumption.picojoules,
            "assumption": str(plan.assumption),
        },
    }


def show(console: Console, found: Answer) -> None:
    """Print a table, a verdict, and what is assumed."""
    board, job = found.board, found.job
    layers = ", ".join(in_words(layer) for layer in job.layers)
    console.print(f"[bold]{found.task}[/] on {board.core}: {layers}; batches of {job.batch}")
    console.print(memory_table(found.plan, found.limits))
    console.print(work_table(found))
    for line in found.shrink:
        console.print(f"[red]no[/]: {line}", soft_wrap=True)
    if not found.shrink:
        console.print("[green]yes[/]: it fits")


def memory_table(plan: Plan, limits: Limits) -> Table:
    """Make the table of flash and RAM in bytes, with their parts."""
    ram, arena = plan.ram, plan.ram.arena
    table = Table(box=None, pad_edge=False)
    for name in ("bytes", "needed", "of", "what"):
        table.add_column(name, justify="right" if name in ("needed", "of") else "left")
    total(table, "flash", plan.flash.total, limits.flash)
    part(table, plan.flash.code, "code of the kernel")
    part(table, plan.flash.layers + plan.flash.weights, "layers and first weights")
    total(table, "RAM", ram.total, limits.ram)
    part(table, ram.state, "weights and biases")
    part(table, ram.stack, "stack, without interrupts")
    part(table, ram.training, "while training:")
    part(table, ram.velocity, "  velocity of the momentum")
    part(table, ram.batch, "  a batch and its targets")
    part(table, arena.total, "  arena:")
    part(table, arena.accumulators, "    accumulators of the widest layer")
    part(table, arena.errors, "    errors of the last layer")
    part(table, arena.inputs, "    inputs of the layers, then their errors")
    part(table, arena.shapes, "    shapes")
    part(table, ram.update, "then: packed weights of the update")
    part(table, ram.prediction, "then: a prediction")
    return table


def total(table: Table, name: str, needed: int, has: int) -> None:
    table.add_row(name, f"{needed:,}", f"{has:,}", style="red" if needed > has else "bold")


def part(table: Table, needed: int, what: str) -> None:
    table.add_row("", f"{needed:,}", "", what)


def work_table(found: Answer) -> Table:
    """Make the table of instructions and energy, and of what they are."""
    plan, epochs, examples = found.plan, found.round.epochs, found.round.examples
    table = Table.grid(padding=(0, 2))
    table.add_row("instructions", f"{plan.example_instructions:,} an example")
    table.add_row("", f"{plan.round_instructions:,} a round")
    table.add_row("", f"{epochs} epochs of {examples} examples ({found.examples_from})")
    table.add_row("energy", f"{1000 * plan.round_joules:.3g} mJ a round")
    table.add_row("", f"at {plan.assumption.picojoules:.0f} pJ an instruction, an assumption:")
    table.add_row("", str(plan.assumption))
    table.add_row("build", f"{found.compiler}, -DFDL_WITHOUT_...: {without(found.job)}")
    return table


def without(job: Job) -> str:
    """Write the macros of a build in short."""
    return " ".join(name.removeprefix("FDL_WITHOUT_") for name in job.left_out) or "nothing"
