"""A plugin that misbehaves: it raises in a hook, answers with the wrong shape, or changes a frozen tensor."""

from __future__ import annotations

from faults.workplace import Case, demand

RAISED = (
    "ValueError",
    "AssertionError",
    "KeyError",
    "OSError",
    "MemoryError",
    "RecursionError",
    "StopIteration",
    "SystemExit",
    "UnprintableError",
    "CancelledError",
)
HOOKS = (
    "run_started",
    "stage_started",
    "stage_frozen",
    "step",
    "evaluated",
    "gate_decided",
    "checkpoint_saved",
    "stage_finished",
    "run_finished",
)


async def raises(case: Case) -> None:
    """It raises in a lifecycle hook: plugin and hook are named; with the plugin mended the run goes on."""
    moment = case.place.moment(case.rng, case.rng.choice(HOOKS))
    done = await case.strike("run", "toy.toml", fault={moment: f"raise {case.rng.choice(RAISED)}"})
    demand(done.code == 1, f"a plugin that raises ends with {done.code}: {done.err}")
    for words in ("saboteur", f"engine_{moment.split()[0]}"):
        demand(words in done.err, f"'{words}' is not named: {done.err}")
    if not case.is_done():
        await case.resume()
    case.nothing_lost()


async def answers_wrong(case: Case) -> None:
    """The model answers with another shape, the data set too, or leaves a field out: named, and mended it goes on."""
    fault = case.rng.choice(
        (
            {case.place.moment(case.rng, "forward"): "shape"},
            {f"sample train-{case.rng.randrange(24)}": "shape"},
            {f"sample train-{case.rng.randrange(24)}": "field"},
            {f"sample train-{case.rng.randrange(24)}": "raise ValueError"},
            {f"loss train-{case.rng.randrange(24)}": "raise ValueError"},
            {case.place.moment(case.rng, "forward"): "raise ValueError"},
        )
    )
    done = await case.strike("run", "toy.toml", fault=fault)
    demand(done.code in (1, 2), f"{fault} ends with {done.code}: {done.err}")
    demand(any(part in done.err for part in ("fragile", "FragileBase")), f"{fault}: no plugin is named: {done.err}")
    await case.resume()


async def writes_frozen(case: Case) -> None:
    """The base writes to a frozen weight: found, named, not handed on; with the plugin mended the run goes on."""
    forwards = [m for m in case.place.moments if m.startswith("forward B")]
    done = await case.strike("run", "toy.toml", fault={case.rng.choice(forwards): "write"})
    if done.code == 0:  # it wrote to the copy that holds the moving average, which hands on no frozen tensor
        case.nothing_lost()
        return
    demand(done.code == 1, f"a write to a frozen tensor ends with {done.code}: {done.err}")
    demand("base.head.weight" in done.err, f"the tensor is not named: {done.err}")
    demand(not (case.run_folder / "stage-B" / "weights.safetensors").exists(), "the changed weights were handed on")
    await case.resume(made_twice="B")


KINDS = {
    "plugin raises in a hook": (raises, 18),
    "plugin answers wrong": (answers_wrong, 12),
    "plugin writes to a frozen tensor": (writes_frozen, 6),
}
