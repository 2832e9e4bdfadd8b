"""`compile = true`: base and injection run through torch.compile, or uncompiled with one note that says why not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import WorldError
from engine.system import System

BACKEND = "inductor"


def compile_parts(system: System, tell: Callable[[str], None]) -> None:
    """Compile base and injection in place, so that the names of their tensors, pickles and copies stay as they are.

    Compilation happens in the first call with each shape. A part for which it fails there runs uncompiled from then
    on, and `tell` is given the reason once.
    """
    # What earlier stages compiled counts against the number of graphs that torch keeps of one function.
    torch.compiler.reset()
    # In place, this part of `nn.Module.compile` included: a wrapped module would have other names in its state.
    for name, part in zip(system.names, (system.base, system.injection), strict=True):
        if part is not None:
            # Shapes taken as dynamic would make a resumed run, which meets them in another order, differ in its bits.
            part.compile(backend=BACKEND, dynamic=False)
            part._compiled_call_impl = _or_uncompiled(name, part, tell)


def _or_uncompiled(name: str, part: nn.Module, tell: Callable[[str], None]) -> Callable[..., Any]:
    from torch._dynamo.exc import TorchDynamoException

    compiled = part._compiled_call_impl
    assert compiled is not None, "compile() has been called"

    def call(*arguments: Any, **more: Any) -> Any:
        try:
            return compiled(*arguments, **more)
        except TorchDynamoException as failure:
            part._compiled_call_impl = None
            tell(f"{name} runs uncompiled: {_reason(failure)}")
        return part(*arguments, **more)

    return call


class CompiledBackwardError(WorldError):
    """The backward pass of a compiled system failed: it is compiled, and its code checked, when it is first taken."""


def backward_of(compiled: bool) -> Callable[[Tensor], None]:
    """Tensor.backward; of a compiled system one that raises CompiledBackwardError for what fails in it."""
    if not compiled:
        return Tensor.backward
    from torch._dynamo.exc import TorchDynamoException

    def backward(loss: Tensor) -> None:
        try:
            loss.backward()  # type: ignore[no-untyped-call]  # torch's gap
        except torch.OutOfMemoryError:
            raise
        except (TorchDynamoException, AssertionError, RuntimeError) as failure:
            what = f"the compiled backward pass failed: {_reason(failure)}"
            raise CompiledBackwardError(f"{what}; train with compile = false") from failure

    return backward


def go_uncompiled(system: System, failure: CompiledBackwardError, tell: Callable[[str], None]) -> None:
    """Run base and injection as they are from now on; `tell` is given the reason."""
    for part in (system.base, system.injection):
        if part is not None:
            part._compiled_call_impl = None
    assert failure.__cause__ is not None, "backward_of gives it one"
    tell(f"the stage runs uncompiled, its compiled backward pass failed: {_reason(failure.__cause__)}")


def _reason(failure: BaseException) -> str:
    """The first line that the compiler said, which is followed by pages for its own developers."""
    from torch._dynamo.exc import BackendCompilerFailed

    cause = failure.inner_exception if isinstance(failure, BackendCompilerFailed) else failure
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return f"{type(cause).__name__}: {lines[0]}" if lines else type(cause).__name__
