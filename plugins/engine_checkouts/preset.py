"""What has to be known of a published network to build, feed and train it from its authors' checkout."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from engine_checkouts.options import NetworkOptions

Place = tuple[int | str, ...]
"""Indices and keys that lead into nested tuples, lists and dicts; () is the whole."""


@dataclass(frozen=True)
class Answer:
    """Where the result of a call holds its disparity maps, and what their values mean.

    estimates: a tensor, or several, coarse to fine. initial: a first estimate that is not one of the iterations. sign:
    -1 where the network gives horizontal flow. own_pixels: a map of another width holds px of that width, as
    FoundationStereo's first estimate does; False where it holds px at full resolution.
    """

    estimates: Place = ()
    initial: Place | None = None
    sign: Literal[1, -1] = 1
    own_pixels: bool = True


@dataclass(frozen=True)
class Rule:
    """A constructor argument that works only with some values, and `expected`, the words for them."""

    argument: str
    holds: Callable[[Any], bool]
    expected: str


@dataclass(frozen=True)
class Attention:
    """A module whose attention may run over the wrong axis: its name, its width, and where its code stands."""

    module: str
    probe: str
    width: int


@dataclass(frozen=True)
class AuthorsFile:
    """The checkpoint that the authors' scripts read: its name, the key of its tensors, a prefix of their names."""

    name: str
    key: str | None = None
    prefix: str = ""


@dataclass(frozen=True)
class Preset:
    """One published network.

    module, network: the class and where the checkout has it. home: where to get it. commits: those that this preset was
    tried with. form: how the constructor takes its `arguments`. needs: packages that it cannot do without, which are
    imported before it: a timm that is not named here may download. unused: packages that it imports and never calls.
    hubs: repositories that it asks torch.hub for, and the folder of the checkout that holds the same code.

    multiple: both sides of the images are padded to multiples of this. brightest: the images' highest value.
    iterations, test_mode: keywords of `forward`. train, evaluate: what it returns then.

    backbone: the frozen part that must not be left at random numbers. idle: parts that no gradient reaches. segments:
    what may be recomputed in the backward pass, by name: modules, or methods of the network. traced: "module:function"
    of the checkout that torch's exporter cannot follow -> its stand-in in `engine_checkouts.traced`. cpu_bf16: False
    where that kills the process.
    """

    module: str
    network: str
    home: str
    arguments: Mapping[str, Any]
    train: Answer
    evaluate: Answer = Answer()
    commits: Sequence[str] = ()
    form: Literal["mapping", "namespace", "positional", "keywords"] = "namespace"
    rules: Sequence[Rule] = ()
    needs: Sequence[str] = ()
    unused: Sequence[str] = ()
    hubs: Mapping[str, str] = field(default_factory=dict)
    multiple: int = 32
    brightest: float = 255.0
    iterations: str | None = "iters"
    train_iters: int = 12
    valid_iters: int = 32
    test_mode: str | None = "test_mode"
    backbone: str = ""
    idle: Sequence[str] = ()
    segments: Mapping[str, Sequence[str]] = field(default_factory=dict)
    attention: Attention | None = None
    traced: Mapping[str, str] = field(default_factory=dict)
    cpu_bf16: bool = True
    file: AuthorsFile = AuthorsFile("network.pth")

    def never_trained(self) -> list[str]:
        """Globs over the system's names for what no gradient reaches, as `frozen` in a recipe takes them."""
        return [f"base.{part}.**" for part in (*([self.backbone] if self.backbone else []), *self.idle)]


def factory(preset: Preset) -> Callable[[NetworkOptions], Any]:
    """What builds the network: `register(name, NetworkOptions, factory(preset), target="disparity")`."""

    def build(options: NetworkOptions) -> Any:
        from engine_checkouts.network import built

        return built(preset, options)

    return build
