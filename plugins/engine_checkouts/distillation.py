"""Learning from another network's answers: what a teacher from a checkout says, as a loss."""

from __future__ import annotations

from pathlib import Path

import torch
from engine_stereo.losses import distance, error_of, mean_over
from torch import Tensor

from engine import read_weights
from engine.errors import InputError
from engine.prediction import Batch, Prediction
from engine_checkouts.network import Checkout, build
from engine_checkouts.options import DistillationOptions

BASE = "base."
"""What the names of a run's own weights begin with; a correction that was trained beside them is not the teacher's."""


class Distillation:
    """Mean difference from a teacher's disparity, px, over all pixels whose match lies in the right view.

    The teacher sees the batch as the student does, augmented, and also where the truth is not known. It is no part of
    the system: it is never trained, measured or kept in a checkpoint.
    """

    reads = ("left", "right", "base.value")

    def __init__(self, options: DistillationOptions) -> None:
        self.options = options
        self.teacher = taught(build(options.teacher), options.weights)

    def __call__(self, prediction: Prediction, batch: Batch) -> Tensor:
        """The loss of `value` (B, 1, H, W), px, against the teacher's answer to `left` and `right`."""
        value = prediction.value
        with torch.no_grad():
            known = self.teacher.to(value.device)(batch).value
            place = torch.arange(known.shape[-1], device=known.device) - known
            mask = known.isfinite() & (place >= 0) & (place <= known.shape[-1] - 1)
        with torch.autocast(value.device.type, enabled=False):
            return mean_over(mask, distance(error_of(value, known, mask), self.options.beta))


def taught(teacher: Checkout, weights: Path) -> Checkout:
    """The teacher with its weights, fixed: the authors' checkpoint, or what a stage of a run handed on.

    Raises InputError where tensors are missing or of another shape, and where they were trained with another axis of
    the attention.
    """
    tensors, trained = read_weights(weights)
    if any(name.startswith(BASE) for name in tensors):
        tensors = {name.removeprefix(BASE): each for name, each in tensors.items() if name.startswith(BASE)}
    state, wanted = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}, teacher.state_dict()
    wrong = [name for name, place in wanted.items() if name not in state or state[name].shape != place.shape]
    if wrong:
        raise InputError(
            f"{weights} does not hold the teacher {teacher.preset.network}: missing or of another shape are "
            f"{', '.join(wrong[:4])}" + (f" and {len(wrong) - 4} more" if len(wrong) > 4 else "")
        )
    for trait, now in teacher.traits.items():
        if trained.get(trait, now) != now:
            raise InputError(
                f"{weights} was trained with {trait} = {trained[trait]!r}, and the teacher has {now!r}",
                f'teacher = {{ ..., {trait} = "{trained[trait]}" }}',
            )
    teacher.load_state_dict({name: state[name] for name in wanted})
    return teacher.eval().requires_grad_(False)
