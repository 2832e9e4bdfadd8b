"""Every hook of the engine, in one file; docs/hooks has a page with an example of each.

Registration hooks receive `register` and call it once for each thing they bring; they must stay cheap (no torch, no
zarr), which is why `factory` may be the string "package.module:attribute". Order: registrations when a command starts,
then for each run

    engine_run_started
        for each stage
            engine_stage_started
                engine_gate_decided        entry gates
                engine_evaluated           before the first step, when nothing was measured for these weights yet
                engine_stage_frozen        what is frozen has its fingerprint
                engine_step                every `log_every` steps
                engine_evaluated           every `evaluate_every` steps
                engine_checkpoint_saved    every `checkpoint_every` steps, and at the end
                engine_evaluated           at the end
                engine_gate_decided        exit gates
            engine_stage_finished
    engine_run_finished                    also after a failure; `event.status` tells

Where one listener raises, the others still hear of the event; then the run ends with the error, naming plugin and hook.
The time of every listener is accounted, and one that takes much of a run is named in a note at its end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

if TYPE_CHECKING:
    from engine import events

PROJECT = "engine"
F = TypeVar("F", bound=Callable[..., Any])

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

Register = Callable[..., None]

# ---------------------------------------------------------------------------------------------------------------------
# Registration: register(name, options, factory), `options` a pydantic model, `factory(options)` builds the object
# ---------------------------------------------------------------------------------------------------------------------


@hookspec
def engine_models(register: Register) -> None:
    """Bring base models.

    `register(name, options, factory, target="depth", weights={"name": path})`: `target` is the batch field that the
    model learns; `weights` are files the plugin ships, used in recipes as "builtin:name". The factory returns a
    `torch.nn.Module` that satisfies `engine.contracts.Base`. Optionally `reach=range_of`: `range_of(options, (height,
    width))` gives the lowest and the highest value of the target that the model can answer on a picture of that size.
    """


@hookspec
def engine_injections(register: Register) -> None:
    """Bring auxiliary modules: `register(name, options, factory)`; see `engine.contracts.Injection`."""


@hookspec
def engine_datasets(register: Register) -> None:
    """Bring data sets: `register(name, options, factory)`; see `engine.contracts.Dataset`.

    Optionally `files=(".csv",)`: the suffixes of files that are a data set by themselves, so that `engine data inspect`
    takes one in place of a recipe; the path becomes the option of the type Path that has no default.
    """


@hookspec
def engine_losses(register: Register) -> None:
    """Bring losses: `register(name, options, factory)`; see `engine.contracts.Loss`."""


@hookspec
def engine_metrics(register: Register) -> None:
    """Bring metrics: `register(name, options, factory, produces=names)`; `names(options)` lists what they yield."""


@hookspec
def engine_inputs(register: Register) -> None:
    """Bring what makes files into inputs for `engine predict`: `register(target, options, factory, exports=names)`.

    `target` is the one of the models that take such inputs. Options without a default are the command's arguments in
    their order, the others its flags: `pol` is `--pol`, with one value or several. The factory returns a data set, see
    `engine.contracts.Dataset`, whose samples have an `id` and need no target. `exports` are registered in
    `engine_exports` and written, with the defaults of their options, where the user asks for none.
    """


@hookspec
def engine_exports(register: Register) -> None:
    """Bring formats for `engine eval --export` and `engine predict`: `register(name, options, factory)`.

    See `engine.contracts.Export`.
    """


@hookspec
def engine_gates(register: Register) -> None:
    """Bring gates: `register(name, options, factory, needs=names)`; `names(options)` lists the metrics they read.

    `feasibility=True` marks a gate that tells, before a stage trains, whether a correction within its bound can do what
    it is for: `engine check-feasibility` asks it where a recipe uses it, in place of the engine's own.
    """


@hookspec
def engine_inspections(register: Register) -> None:
    """Bring what `engine data inspect` looks for: `register(name, options, factory)`.

    See `engine.contracts.Inspection`. Every inspection looks at every data set, with the defaults of its options.
    """


@hookspec
def engine_pictures(register: Register) -> None:
    """Bring pictures of samples and answers for the report: `register(name, options, factory)`.

    See `engine.contracts.Pictures`. All of them draw the same few held-out samples after each stage, with the defaults
    of their options and in the order of their names.
    """


@hookspec
def engine_trackers(register: Register) -> None:
    """Bring what passes a run's figures on to another program: `register(name, options, factory)`.

    See `engine.contracts.Tracker`. A recipe asks for one by `[[tracker]] plugin = "name"`. The factory is called before
    there is a run directory, and says there what is missing; everything else happens in a thread of its own.
    """


@hookspec
def engine_commands(register: Register) -> None:
    """Bring commands to the command line: `register(name, line, command)`.

    `line` stands beside the name in `engine --help`. `command` is a function whose parameters typer reads, or a typer
    app with commands of its own; the text "package.module:attribute" keeps it unimported until somebody calls it. An
    error of `engine.errors` is told in words and gives its exit code. A name that the engine has is refused. Only
    installed plugins are asked before a command: the files of a recipe are not known by then.
    """


# ---------------------------------------------------------------------------------------------------------------------
# Lifecycle: called by the engine with a typed payload; what an implementation returns is ignored
# ---------------------------------------------------------------------------------------------------------------------


@hookspec
def engine_run_started(event: events.RunStarted) -> None:
    """A run directory exists and the first stage is about to be prepared."""


@hookspec
def engine_stage_started(event: events.StageStarted) -> None:
    """Weights are in place; nothing of this stage has been measured or trained yet."""


@hookspec
def engine_stage_frozen(event: events.StageFrozen) -> None:
    """The frozen part is fixed and fingerprinted, and one batch has proved where gradients go."""


@hookspec
def engine_step(event: events.Step) -> None:
    """Figures of the last steps; called every `log_every` steps, so that no step waits for the device."""


@hookspec
def engine_evaluated(event: events.Evaluated) -> None:
    """The system was measured on held-out data."""


@hookspec
def engine_gate_decided(event: events.GateDecided) -> None:
    """A gate gave its verdict and the engine decided what follows from it."""


@hookspec
def engine_checkpoint_saved(event: events.CheckpointSaved) -> None:
    """A checkpoint was copied and is being written; it is on disk when its folder stands under its final name."""


@hookspec
def engine_stage_finished(event: events.StageFinished) -> None:
    """The stage has trained, passed its exit gates, and its frozen tensors are proved unchanged."""


@hookspec
def engine_run_finished(event: events.RunFinished) -> None:
    """The run is over, for better or worse."""


@hookspec
def engine_note(event: events.Note) -> None:
    """Something the user should know: a warning, a report of loaded weights, progress of a long preparation."""
