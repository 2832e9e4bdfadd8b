"""The ways a command can end badly; each carries its exit code, and the command line alone prints it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches


class EngineError(Exception):
    """A failure that is explained to the user in words; `exit_code` is what the process returns."""

    exit_code = 1


class WorldError(EngineError):
    """The world is not as needed: a missing file, a full disk, a locked directory."""

    exit_code = 1


class DamagedDataError(WorldError):
    """A stored sample that cannot be read as it was written, which a data set raises in `sample`.

    array: what is damaged, as the data set calls it. sample: its name. reason: the file, what is wrong with it, and how
    to get it back. Where the recipe says `damaged = "skip"`, the run goes on without the sample.
    """

    def __init__(self, array: str, sample: str, reason: str) -> None:
        super().__init__(array, sample, reason)  # all three, so that it travels from a worker
        self.array, self.sample, self.reason = array, sample, reason
        self.source = "the data set"

    def without_trace(self) -> DamagedDataError:
        """The same without the frames that it passed through, which a list of errors would keep alive."""
        same = DamagedDataError(self.array, self.sample, self.reason)
        same.source = self.source
        return same

    def __str__(self) -> str:
        return f"{self.source}: array '{self.array}' of sample {self.sample} is damaged: {self.reason}"


@dataclass(frozen=True)
class Problem:
    """One mistake in the user's input: where it is, what is wrong, what was expected, what to try."""

    where: str
    what: str
    expected: str = ""
    near: Sequence[str] = ()

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        if self.expected:
            text += f"; expected {self.expected}"
        if self.near:
            text += f". Did you mean {' or '.join(repr(name) for name in self.near)}?"
        return text


class InputError(EngineError):
    """The user's input is wrong; every problem found is listed, not only the first."""

    exit_code = 2

    def __init__(self, problems: Problem | str | Sequence[Problem], advice: str = "") -> None:
        if isinstance(problems, str):
            problems = Problem("", problems)
        self.problems = [problems] if isinstance(problems, Problem) else list(problems)
        self.advice = advice
        super().__init__("\n".join(str(problem) for problem in self.problems))


class PluginError(EngineError):
    """A plugin raised or broke its contract; the message names the plugin and the hook or object."""

    exit_code = 1


class DivergedError(EngineError):
    """Training produced numbers that are not finite."""

    exit_code = 3


class GateRefusedError(EngineError):
    """A gate said no and the recipe says to stop there."""

    exit_code = 4


class InterruptedRunError(EngineError):
    """The run was asked to stop; it saved its position and can be resumed."""

    exit_code = 5


def nearest(name: str, known: Sequence[str], count: int = 2) -> list[str]:
    """The known names most like `name`, best first; empty when none is close."""
    return get_close_matches(name, known, n=count, cutoff=0.55)
