import subprocess
import sys

import pytest
import torch
from engine_stereo.data.readers import READERS

from engine import testing
from engine.prediction import Prediction

HOOKS = ("engine_losses", "engine_injections", "engine_metrics", "engine_datasets")


def batch() -> dict[str, torch.Tensor]:
    numbers = torch.Generator().manual_seed(0)
    truth = 10 * torch.rand(2, 1, 6, 24, generator=numbers)
    valid = torch.rand(2, 1, 6, 24, generator=numbers) > 0.3
    left, right = (255 * torch.rand(2, 3, 6, 24, generator=numbers) for _ in range(2))
    views = {"left": left, "right": right}
    return {**views, "disparity": truth.where(valid, torch.inf), "valid": valid, "occluded": truth > 8}


def predicted(fields: dict[str, torch.Tensor]) -> Prediction:
    value = 10 * torch.rand(fields["valid"].shape, generator=torch.Generator().manual_seed(1))
    features = {"initial": value[..., ::4, ::4]}
    return Prediction(
        value, [value[..., ::2, ::2]], confidence=value / 10, visibility=1 - value / 10, features=features
    )


LOSSES = (
    "disparity_l1",
    "disparity_smooth_l1",
    "sequence",
    "initial_disparity",
    "photometric",
    "smoothness",
    "disparity_edges",
    "laplace",
    "confidence_bce",
    "visibility_bce",
)


PROMISES = [
    *(
        promise
        for loss in LOSSES
        for promise in testing.loss(loss, batch=batch, target="disparity", predicted=predicted)
    ),
    *testing.injection("uncertainty", {"width": 4}, batch=batch, target="disparity"),
    *testing.metric("epe", {"regions": ["all", "noc"], "quantities": ["epe", "bad"]}, batch=batch, target="disparity"),
    *testing.dataset("motorcycle", {"scale": 0.1}, fields=("left", "right", "disparity", "valid")),
]


@pytest.mark.parametrize("promise", PROMISES, ids=str)
def test_it_keeps_its_promises(promise: testing.Check) -> None:
    promise()


@pytest.mark.parametrize("reader", [*READERS, "augmented", "manifest"])
def test_every_option_of_a_data_set_of_files_is_described(reader: str) -> None:
    (described,) = [each for each in testing.dataset(reader) if each.name == "its_options_document_themselves"]
    described()


def test_registering_imports_neither_torch_nor_anything_it_does_not_need():
    code = (
        "import sys, engine_stereo.plugin as p\n"
        f"[getattr(p, hook)(lambda *a, **k: None) for hook in {HOOKS!r}]\n"
        "heavy = {'torch', 'numpy', 'skimage', 'matplotlib', 'PIL', 'cv2'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
