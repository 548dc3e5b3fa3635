"""All that a job asks of a board, from the measured costs of its core."""

from dataclasses import replace

from fedling_protocol.classes import dataclass
from fedling_sim.sizing import energy, operations
from fedling_sim.sizing.costs import Costs, CostTable
from fedling_sim.sizing.energy import Assumption
from fedling_sim.sizing.flash import Flash, flash
from fedling_sim.sizing.memory import Ram, ram
from fedling_sim.sizing.workload import Job


@dataclass(frozen=True, slots=True)
class Round:
    """How much a device trains between two models."""

    epochs: int
    examples: int  # in each of them


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a device needs for a job."""

    flash: Flash
    ram: Ram
    step_instructions: int  # of a whole batch
    example_instructions: int  # in such a step
    round_instructions: int  # of all steps
    round_joules: float
    assumption: Assumption  # of the energy


def plan(job: Job, core: str, table: CostTable, round_: Round) -> Plan:
    """Estimate a job on a core. Raises CostsMissing."""
    costs, assumption = table.of(core), energy.ASSUMPTIONS[core]
    step = instructions(job, costs)
    total = round_instructions(job, costs, round_)
    return Plan(
        flash(job, costs.code, table.structs),
        ram(job, table.structs.part, stack(job, costs)),
        step,
        round(step / job.batch),
        total,
        total * assumption.picojoules * 1e-12,
        assumption,
    )


def instructions(job: Job, costs: Costs) -> int:
    """Estimate the instructions of a step."""
    counts = operations.terms(job)
    return round(sum(costs.instructions[name] * count for name, count in counts.items()))


def round_instructions(job: Job, costs: Costs, round_: Round) -> int:
    """Estimate the instructions of a round, whose epochs end with what is left."""
    whole, rest = divmod(round_.examples, job.batch)
    epoch = whole * instructions(job, costs)
    if rest:
        epoch += instructions(replace(job, batch=rest), costs)
    return round_.epochs * epoch


def stack(job: Job, costs: Costs) -> int:
    """Estimate the stack in bytes, from the kernel's caller down; interrupts come on top."""
    return max(costs.stack[way] for way in operations.updates(job))
