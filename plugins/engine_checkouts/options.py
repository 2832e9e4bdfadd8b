"""What a recipe may say about a network from a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from engine_checkouts.origin import commit_of, sources_of

Iterations = Annotated[int, Field(ge=1, le=256)]


class NetworkOptions(BaseModel):
    """A network that the plugin knows, or one that a plugin of your own registers."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    checkout: Path = Field(description="the folder of the authors' repository")
    commit: str = Field(
        default_factory=lambda known: commit_of(known.get("checkout")),
        description="the checkout's git commit; the one that is found, or a prefix of the one that you want",
    )
    sources: str = Field(
        default_factory=lambda known: sources_of(known.get("checkout")),
        description="digest of the checkout's Python files; the one that is found",
    )
    config: Path | None = Field(None, description="the authors' cfg.yaml, whose values replace the preset's")
    arguments: dict[str, JsonValue] = Field({}, description="further arguments of the constructor")
    vit_size: Literal["vits", "vitb", "vitl"] | None = Field(None, description="the constructor's vit_size")
    max_disp: int | None = Field(
        None, ge=32, multiple_of=32, description="px; the constructor's max_disp, beyond which nothing is matched"
    )
    train_iters: Iterations | None = Field(None, description="iterations in training")
    valid_iters: Iterations | None = Field(None, description="iterations in evaluation")
    parts: dict[str, Path] = Field(
        {}, description="weights of parts of the network by their names, such as those of its backbone"
    )
    allow_random_backbone: bool = Field(False, description="train on a frozen backbone of random numbers, as tests do")
    disparity_attention: Literal["paper", "checkout"] = Field(
        "checkout", description="along disparity, as in the paper, or as the checkout's code has it"
    )
    freeze_bn: bool = Field(True, description="batch normalisation keeps its statistics; its scale and shift may train")
    checkpoint_segments: list[str] = Field(
        [], description="parts whose activations are computed again in the backward pass: less memory, more time"
    )

    @model_validator(mode="after")
    def _as_found(self) -> NetworkOptions:
        """What is written of the checkout holds, where there is one; a prefix of the commit becomes the whole of it."""
        found = commit_of(self.checkout)
        if found and not found.startswith(self.commit):
            raise ValueError(f"{self.checkout} is at commit {found}, and commit = {self.commit!r} was asked for")
        if found:
            object.__setattr__(self, "commit", found)
        sources = sources_of(self.checkout)
        if sources and self.sources != sources:
            raise ValueError(
                f"the Python files of {self.checkout} are not those that were recorded (digest {sources}, recorded "
                f"{self.sources}); put them back, or start a new run"
            )
        return self

    def given(self) -> dict[str, Any]:
        """The constructor's arguments that the recipe sets."""
        own = {name: getattr(self, name) for name in ("vit_size", "max_disp")}
        return {**self.arguments, **{name: value for name, value in own.items() if value is not None}}


class CheckoutOptions(NetworkOptions):
    """Options of the model `checkout`."""

    preset: Literal["foundation_stereo", "raft_stereo"] = Field(description="which network the checkout holds")


class DistillationOptions(BaseModel):
    """Options of the loss `distillation`."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    teacher: CheckoutOptions = Field(description="the teacher's network, with the options of the model `checkout`")
    weights: Path = Field(description="its weights: the authors' checkpoint, or weights.safetensors of a stage")
    beta: float = Field(0.0, ge=0, description="px; 0 is L1, more is smooth L1 with a quadratic part of this size")
