"""What a run promises holds with a network from a checkout: accumulation, kills, memory, validation, trackers."""

from __future__ import annotations

import csv
import json
import shutil
import socket
from pathlib import Path

import pytest
import torch
from checkout_world import FOLDERS, network, one_stage, slanted_pair, tiny, trainable
from conftest import Command, events_of, only_run, weights_of
from engine_stereo.options import LaplaceOptions, UncertaintyOptions
from engine_stereo.uncertainty import Laplace, Uncertainty
from forked import Forks
from safetensors.torch import load_file

HERE = FOLDERS["foundation_stereo"]
# A bias before an instance normalisation has no effect: its gradient is rounding, of which AdamW makes whole steps.
# Dropout, of the attention alone, draws other numbers for other batches.
RESTS = ["base.cost_agg.atts.**", "base.feature.stem.0.bias", "base.feature.stages.*.0.bias"]


def test_four_times_one_sample_is_four_samples_where_batch_normalisation_is_frozen(
    engine: Command, tmp_path: Path
) -> None:
    recipe = one_stage(tmp_path, "foundation_stereo", HERE, RESTS)
    runs = []
    for name, sizes in (("four", {"batch_size": 4}), ("one", {"batch_size": 1, "accumulate": 4})):
        more = {f"train__{key}": value for key, value in sizes.items()}
        done = engine("run", recipe, *tiny(2, **more), "--runs", name)
        assert done.code == 0, done.err
        (run,) = (tmp_path / name / "foundation_stereo").iterdir()
        runs.append(run)
    losses = [[event["loss"] for event in events_of(run, "step")] for run in runs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    four, one = (weights_of(run, "train") for run in runs)
    began = network()
    moved = {name: (each - began.state_dict()[name.removeprefix("base.")]).abs() for name, each in four.items()}
    assert max(float(each.max()) for each in moved.values()) > 1e-4, "something trained"
    for name, tensor in four.items():
        torch.testing.assert_close(one[name], tensor, rtol=1e-4, atol=2e-5, msg=name)


@pytest.mark.parametrize("steps", [3, 10])
def test_short_runs_learn_one_pair_and_keep_their_last_step_in_four_kinds_of_files(
    engine: Command, tmp_path: Path, steps: int
) -> None:
    recipe = one_stage(tmp_path, "foundation_stereo", HERE)
    one = {"data__train__count": 1, "train__batch_size": 1}
    adamw = {"train__optimizer__lr": 1e-3, "train__optimizer__betas": [0.8, 0.99], "train__optimizer__eps": 1e-7}
    done = engine("run", recipe, *tiny(steps, **one, **adamw, train__ema=0.5))
    assert done.code == 0, done.err
    run = only_run(tmp_path, "foundation_stereo")
    losses = [event["loss"] for event in events_of(run, "step")]
    third = steps // 3
    assert len(losses) == steps
    assert sum(losses[-third:]) < sum(losses[:third]), losses
    checkpoints = run / "stage-train" / "checkpoints"
    last = checkpoints / f"step-{steps:07d}"
    assert (checkpoints / "latest").read_text().strip() == last.name
    assert {file.name for file in last.iterdir()} > {"weights.safetensors", "average.safetensors", "state.pt"}
    weights, average = (load_file(last / f"{name}.safetensors") for name in ("weights", "average"))
    assert weights.keys() == average.keys()
    name = "base.update_block.fine.weight"
    assert not torch.equal(weights[name], average[name])
    assert torch.equal(average[name], weights_of(run, "train")[name]), "the average is what is handed on"
    state = torch.load(last / "state.pt", weights_only=True)
    assert (state["progress"]["step"], int(state["averaged"])) == (steps, steps)
    (group,) = state["optimizer"]["param_groups"]
    assert (group["betas"], group["weight_decay"], group["eps"]) == ((0.8, 0.99), 0.0, 1e-7)


def test_what_goes_wrong_in_model_data_and_loop_is_told_and_the_last_checkpoint_stays(
    engine: Command, tmp_path: Path
) -> None:
    recipe = one_stage(tmp_path, "foundation_stereo", HERE)
    absent = engine("run", recipe, *tiny(4), "--set", f"model.checkout={tmp_path / 'absent'}")
    assert absent.code == 1
    assert f"there is no checkout of FoundationStereo at {tmp_path / 'absent'}: git clone" in absent.err

    manifest = tmp_path / "own.csv"
    manifest.write_text("left,right,disparity\nleft.png,right.png,disparity.pfm\n")
    table = f'data={{train={{plugin="manifest", file="{manifest}"}}, val={{plugin="manifest", file="{manifest}"}}}}'
    lost = engine("run", recipe, "--set", table)
    assert lost.code == 2
    assert "own.csv:2, column 'left'" in lost.err
    assert "left.png" in lost.err

    (tmp_path / "fails.py").write_text(FAILS)
    recipe.write_text('plugins = ["fails.py"]\n' + recipe.read_text().replace('"sequence"', '"fails"'))
    given = tiny(4, train__checkpoint_every=1)
    failed = engine("run", recipe, *given, "--runs", "failed")
    assert failed.code == 1
    (told,) = failed.err.splitlines()
    assert told.startswith(f"error the loss fails failed: ValueError: a fault of its own ({tmp_path / 'fails.py'}:")
    (run,) = (tmp_path / "failed" / "foundation_stereo").iterdir()
    assert [(event["stage"], event["step"]) for event in events_of(run, "step")] == [("train", 1), ("train", 2)]
    assert (run / "stage-train" / "checkpoints" / "latest").read_text().strip() == "step-0000002"
    assert engine("runs", "verify", run).code == 0
    resumed = engine("run", recipe, *given, "--runs", "failed", "--resume")
    assert resumed.code == 0, resumed.err
    assert [event["step"] for event in events_of(run, "step")] == [1, 2, 3, 4]


# A loss that fails once, in the third step.
FAILS = """
from pathlib import Path
from engine.hookspecs import hookimpl
from engine_stereo.options import SequenceOptions
from engine_stereo.sequence import Sequence

class Fails(Sequence):
    calls = 0

    def __call__(self, prediction, batch):
        self.calls += prediction.value.requires_grad
        if self.calls == 4 and not Path("failed-once").exists():  # the first call is a try before the first step
            Path("failed-once").touch()
            raise ValueError("a fault of its own")
        return super().__call__(prediction, batch)

@hookimpl
def engine_losses(register):
    register("fails", SequenceOptions, Fails)
"""


# Dies in the second checkpoint, when its files are written and not yet renamed.
DIES = """
import os, signal
from engine.checkpoints import store

written, sync = [], store.sync

def killed(path):
    written.append(path)
    if os.environ.get("DIE") and path.name.startswith(".step-0000004"):
        os.kill(os.getpid(), signal.SIGKILL)
    sync(path)

store.sync = killed
"""


def test_a_run_that_is_killed_in_the_middle_of_a_save_goes_on_to_the_same_bits(forks: Forks, tmp_path: Path) -> None:
    recipe = one_stage(tmp_path, "foundation_stereo", HERE)
    (tmp_path / "dies.py").write_text(DIES)
    recipe.write_text('plugins = ["dies.py"]\n' + recipe.read_text())
    given = tiny(6, train__checkpoint_every=2, train__ema=0.9)
    assert forks.run("run", recipe, *given, "--runs", "whole", folder=tmp_path).code == 0
    killed = forks.run("run", recipe, *given, folder=tmp_path, DIE="1")
    assert killed.code == -9
    checkpoints = only_run(tmp_path, "foundation_stereo") / "stage-train" / "checkpoints"
    assert (checkpoints / "latest").read_text().strip() == "step-0000002"
    assert (checkpoints / ".step-0000004.partial").is_dir(), "it died between writing and renaming"
    resumed = forks.run("run", recipe, *given, "--resume", folder=tmp_path)
    assert resumed.code == 0, resumed.err
    (whole,) = (tmp_path / "whole" / "foundation_stereo").iterdir()
    again = weights_of(only_run(tmp_path, "foundation_stereo"), "train")
    assert all(torch.equal(tensor, again[name]) for name, tensor in weights_of(whole, "train").items())


# Counts what is alive rather than what the process holds: the allocator's share changes from machine to machine.
COUNTS = """
import gc, json
import torch
from engine.hookspecs import hookimpl

ALIVE = []

@hookimpl
def engine_step(event):
    gc.collect()
    tensors = [each for each in gc.get_objects() if type(each) in (torch.Tensor, torch.nn.Parameter)]
    ALIVE.append([event.step, len(tensors), sum(each.nbytes for each in tensors)])

@hookimpl
def engine_stage_finished(event):
    event.weights.with_name("alive.json").write_text(json.dumps(ALIVE))
"""


def test_two_hundred_steps_leave_no_tensor_behind(engine: Command, tmp_path: Path) -> None:
    recipe = one_stage(tmp_path, "foundation_stereo", HERE)
    (tmp_path / "counts.py").write_text(COUNTS)
    recipe.write_text('plugins = ["counts.py"]\n' + recipe.read_text())
    small = {"train__batch_size": 1, "train__ema": 0.9, "train__log_every": 50, "model__train_iters": 2}
    crop = {"data__train__crop": [32, 64], "model__checkpoint_segments": ["update"]}
    done = engine("run", recipe, *tiny(200, **small, **crop))
    assert done.code == 0, done.err
    run = only_run(tmp_path, "foundation_stereo")
    alive = json.loads((run / "stage-train" / "alive.json").read_text())
    assert [step for step, _, _ in alive] == [50, 100, 150, 200]
    assert len({(count, size) for _, count, size in alive}) == 1, alive


def test_validation_has_named_splits_figures_of_each_image_and_keeps_the_best_checkpoint(
    engine: Command, tmp_path: Path
) -> None:
    recipe = one_stage(tmp_path, "foundation_stereo", HERE)
    recipe.write_text(
        recipe.read_text().replace('metrics = [{ name = "epe" }]', METRICS)
        + '[data.retention.glass]\nplugin = "polarized_scenes"\nsplit = "test"\ncount = 2\nheight = 64\nwidth = 96\n'
    )
    # At a rate at which nothing changes no later evaluation is better than the first, whose checkpoint is the oldest.
    given = tiny(6, train__evaluate_every=2, train__keep=1, train__optimizer__lr=1e-30)
    done = engine("run", recipe, *given)
    assert done.code == 0, done.err
    run = only_run(tmp_path, "foundation_stereo")
    stage = run / "stage-train"
    errors = {
        event["moment"]: event["evaluation"]["mean"]["epe/all"]
        for event in events_of(run, "evaluated")
        if event["data"] == "val"
    }
    during = {moment: error for moment, error in errors.items() if moment.startswith("step")}
    assert list(during) == ["step 2", "step 4", "step 6"]
    assert (stage / "checkpoints" / "best").read_text().strip() == "step-0000002"
    kept = sorted(path.name for path in (stage / "checkpoints").glob("step-*"))
    assert kept == ["step-0000002", "step-0000006"]
    figures = json.loads((stage / "evaluation-after-retention.glass.json").read_text())
    assert set(figures["mean"]) == {"epe/all", "bad1/all", "bad2/all", "bad3/all", "d1/all", "nonfinite/all"}
    assert len(figures["ids"]) == 2
    measured = engine(
        "eval", recipe, *given, "--weights", stage / "checkpoints" / "best", "--per-image", "images.csv", "--json"
    )
    assert measured.code == 0, measured.err
    mean = json.loads(measured.out)["mean"]["epe/all"]
    assert mean == pytest.approx(during["step 2"], rel=1e-6)
    with (tmp_path / "images.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    assert sum(float(row["epe/all"]) for row in rows) / 4 == pytest.approx(mean, rel=1e-5)


METRICS = 'metrics = [{ name = "epe", quantities = ["epe", "bad", "d1"] }]'


def test_mlflow_has_the_recipe_and_the_figures_and_a_server_that_is_not_there_stops_nothing(
    engine: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    recipe = one_stage(tmp_path, "foundation_stereo", HERE)
    told = engine("run", recipe, *tiny(2), "--set", 'tracker=[{plugin="mlflow", folder="mlruns"}]')
    assert told.code == 0, told.err

    from mlflow import MlflowClient

    client = MlflowClient((tmp_path / "mlruns").as_uri())
    (found,) = client.search_runs([client.get_experiment_by_name("foundation_stereo").experiment_id])
    assert found.data.params["model.preset"] == "foundation_stereo"
    assert found.data.params["model.train_iters"] == "3"
    run = only_run(tmp_path, "foundation_stereo")
    losses = [each.value for each in client.get_metric_history(found.info.run_id, "train/loss")]
    assert losses == [event["loss"] for event in events_of(run, "step")]
    assert "val/epe/all" in found.data.metrics

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen: every connection is refused
        port = taken.getsockname()[1]
        shutil.rmtree(run)
        dead = engine("run", recipe, *tiny(2), "--set", f'tracker=[{{plugin="mlflow", uri="http://127.0.0.1:{port}"}}]')
    assert dead.code == 0, dead.err
    assert "goes on without it" in dead.out
    assert (only_run(tmp_path, "foundation_stereo") / "stage-train" / "weights.safetensors").is_file()


def test_the_laplace_loss_alone_learns_a_pair_and_says_how_well() -> None:
    torch.manual_seed(0)
    made, sure = trainable(network(freeze_bn=False, max_disp=32)), Uncertainty(UncertaintyOptions(width=8))
    batch, loss = slanted_pair(32, 64), Laplace(LaplaceOptions())
    learns = [each for each in [*made.parameters(), *sure.parameters()] if each.requires_grad]
    optimizer = torch.optim.AdamW(learns, lr=2e-3)
    torch.manual_seed(0)
    likelihoods, errors, scales = [], [], []
    for _ in range(80):
        answer = sure(batch, made(batch), batch["disparity"])
        likelihood = loss(answer, batch)
        likelihoods.append(likelihood.item())
        errors.append((answer.value - batch["disparity"]).abs()[batch["valid"]].mean().item())
        scales.append(answer.features["log_scale"].exp()[batch["valid"]].mean().item())
        optimizer.zero_grad()
        likelihood.backward()
        torch.nn.utils.clip_grad_norm_(learns, 1.0)
        optimizer.step()

    def last(figures: list[float]) -> float:
        return sum(figures[-10:]) / 10

    assert last(likelihoods) < likelihoods[0] / 2
    assert last(errors) < errors[0] / 3
    assert 0.3 < last(scales) / last(errors) < 3, "the scale is near the error"
