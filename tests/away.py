"""Training on a device that is not the CPU, on machines that have none.

torch lets Python bring a device of its own, and fake tensors, which have shapes and no numbers, lie on it. Tensors of
two devices do not mix there, as on a GPU, and what would make the host wait for the device is written down. The device
cannot be taken back, so that tests call `trained` in a process of its own.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

from engine import plugins
from engine.globs import select
from engine.prediction import Batch, Prediction
from engine.reading import fields_of
from engine.recipe.schema import Stage, Train
from engine.stages import freeze
from engine.system import System
from engine.training import loop
from engine.training.interrupt import StopRequest
from engine.training.losses import WeightedLosses

AWAY = torch.device("privateuseone:0")
READ = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "unique_dim")
"""Operators whose answer the host needs before it can go on."""
ROOT = str(Path(__file__).parents[1])


@dataclass(frozen=True)
class Asked:
    """What trains, as a recipe has it.

    model: options of S2M2, None for a single convolution. injection: its name and options. metrics: name -> options.
    """

    losses: Sequence[str]
    model: Mapping[str, Any] | None = None
    injection: tuple[str, Mapping[str, Any]] | None = None
    frozen: Sequence[str] = ()
    train: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    deterministic: bool = False
    steps: int = 1


@dataclass(frozen=True)
class Seen:
    """Where the host waited for the device before the first report, and every operator that ran there."""

    waits: Sequence[str]
    operators: frozenset[str]


class Watch(TorchDispatchMode):
    """Notes operators, and answers for numbers that nobody has computed."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []
        self.operators: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, more = func.overloadpacket.__name__, kwargs or {}
        tensors = [each for each in tree_leaves((args, more)) if isinstance(each, Tensor)]
        devices = {each.device for each in tensors}
        if AWAY in devices:
            self.operators.add(str(func))
            masked = name.startswith("index") and any(each.dtype == torch.bool for each in tensors[1:])
            if name in READ or masked or (name == "copy_" and len(devices) > 1):
                self._note(func)
            if name == "_local_scalar_dense":
                return 0.0 if args[0].dtype.is_floating_point else 0
        if name == "_to_copy" and more.get("device") is not None and torch.device(more["device"]) not in devices:
            self._note(func)
        return func(*args, **more)

    def _note(self, func: Any) -> None:
        stack = traceback.extract_stack()[:-2]
        own = [each for each in stack if each.filename.startswith(ROOT) and "site-packages" not in each.filename]
        self.waits.append(f"{func} at {own[-1].filename}:{own[-1].lineno}")


def batch() -> Batch:
    """Two samples with every field that a loss or an injection reads, on the device."""
    with torch.device(AWAY):
        fields = {name: torch.rand(2, 3, 32, 64) * 255 for name in ("left", "right")}
        fields |= {name: torch.rand(2, 1, 32, 64) > 0.5 for name in ("valid", "occluded", "transparent")}
        fields |= {f"polarization_{side}": torch.rand(2, 2, 32, 64) for side in ("left", "right")}
        fields["disparity"] = torch.rand(2, 1, 32, 64)
    return fields_of({**fields, "id": ["a", "b"]}, "the data set")


class Module(_DummyBackendModule):
    """What torch asks a device for, beside what it asks of every one."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        """Its lower precisions."""
        return [torch.bfloat16]


class Convolution(nn.Conv2d):
    """A base that is there at once."""

    def __init__(self) -> None:
        super().__init__(3, 1, 1)

    def forward(self, batch: Batch) -> Prediction:
        """The left view in one channel."""
        return Prediction(super().forward(batch["left"]))


class Nowhere:
    """A store that keeps nothing."""

    def save(self, *_: Any) -> None:
        pass


def _looks(prediction: Prediction, batch: Batch) -> Tensor:
    return prediction.value.mean() * (2.0 if prediction.value.sum() > 0 else 1.0)


def _strays(prediction: Prediction, batch: Batch) -> Tensor:
    return (prediction.value * torch.ones(prediction.value.shape)).mean()


OWN: Mapping[str, Any] = {"looks": _looks, "strays": _strays}
"""Losses that do what none should: one reads a number, one makes a tensor on the CPU."""


def trained(what: Asked) -> Seen:
    """Steps of the engine's loop on the device; raises what they raise."""
    _begin()
    torch.use_deterministic_algorithms(what.deterministic)
    with _MODE:
        system = _system(what).eval()
        with torch.no_grad():  # which also makes what is made once for each size
            prediction = system(batch(), inject=what.injection is not None)
            for name, options in what.metrics.items():
                _built("metrics", name, options)(prediction, batch())
        selection = select(system, ["**"], what.frozen)
        freeze.apply(system, selection)
        settings = Train(log_every=10, **what.train)
        stage = Stage(
            name="A", trainable=["**"], injection=what.injection is not None, steps=what.steps, train=settings
        )
        watch, reported = Watch(), [0]

        def batches(first: int, last: int) -> Iterator[Batch]:
            return (batch() for _ in range(first, last))

        def emit(event: object) -> None:
            pass

        def reviewed(*arguments: Any) -> int:
            reported.append(len(watch.waits))
            return _review(*arguments)

        loop.review = reviewed
        task = loop.Task(
            stage=stage,
            seed=0,
            system=system,
            selection=selection,
            losses=WeightedLosses([(name, 1.0, OWN.get(name) or _built("losses", name)) for name in what.losses]),
            batches=batches,
            accelerator=SimpleNamespace(device=AWAY, num_processes=1, process_index=0, is_main_process=True),
            store=Nowhere(),
            emit=emit,
            measure=lambda system, moment: None,
            best_of=lambda evaluation: None,
            stop=StopRequest(),
            folder=Path(),
        )
        with watch:
            loop.train(task)
    return Seen(watch.waits[: reported[1]], frozenset(watch.operators))


_MODE: Any = None
_review = loop.review


def _begin() -> None:
    """Bring the device, once in a process."""
    global _MODE
    if _MODE is None:
        torch.set_num_threads(1)
        _setup_privateuseone_for_python_backend("away", Module())
        _MODE = FakeTensorMode(allow_non_fake_inputs=False)
        # A copied system, as an average is, holds tensors of the same mode.
        FakeTensorMode.__deepcopy__ = lambda self, memo: self


def _system(what: Asked) -> System:
    with torch.device(AWAY):
        base = _built("models", "s2m2", {"size": "nano", **what.model}) if what.model is not None else Convolution()
        injection = None if what.injection is None else _built("injections", *what.injection)
    return System(base, injection, "disparity")


def _built(kind: Any, name: str, options: Mapping[str, Any] | None = None) -> Any:
    known = plugins.load().get(kind, name)
    return known.build(known.options.model_validate(options or {}))
