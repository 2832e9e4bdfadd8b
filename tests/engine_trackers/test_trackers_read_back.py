"""MLflow and TensorBoard read back what a run told them, and a server that is not there stops nothing."""

from __future__ import annotations

import json
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Command, WriteRecipe, events_of, only_run
from engine_trackers.mlflow import SETTINGS
from forked import Forks
from toy_world import RECIPE, STAGE_A, STAGE_B, merged, threshold, toml

from engine import testing

BEGINS = {"A": 0, "B": 12}
TRACKERS = [
    {"plugin": "mlflow", "folder": "experiments", "experiment": "on glass"},
    {"plugin": "tensorboard"},
]
STAGES = [STAGE_A, {**STAGE_B, "gate": [threshold("warn", max=9)]}]


@pytest.fixture(scope="module")
def made(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run that was told to both, and, after the loss of its last stage, resumed."""
    folder = tmp_path_factory.mktemp("tracked")
    recipe = folder / "toy.toml"
    recipe.write_text(toml(merged(RECIPE, {"tracker": TRACKERS, "stage": STAGES, "train": {"log_every": 3}})))
    done = forks.run("run", recipe, folder=folder)
    assert done.code == 0, done.err
    assert "goes on without it" not in done.out, done.out
    return folder


def steps_of(run: Path, name: str) -> list[tuple[int, float]]:
    """A figure of every step that the event log holds, on the axis of the whole run."""
    return [(BEGINS[event["stage"]] + event["step"], event[name]) for event in events_of(run, "step")]


def evaluations_of(run: Path) -> list[tuple[int, float]]:
    """The held-out error before, between and after, aligned as at inference."""
    ends = {"before": 0, "after": 12}
    return [
        (BEGINS[event["stage"]] + ends[event["moment"]], event["evaluation"]["mean"]["error"])
        for event in events_of(run, "evaluated")
        if event["warp"] != "gt"
    ]


@pytest.fixture
def mlflow_client(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Any]:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    return lambda folder: MlflowClient(folder.as_uri())


def test_mlflow_reads_back_params_metrics_tags_and_status(made: Path, mlflow_client: Callable[[Path], Any]) -> None:
    run, client = only_run(made), mlflow_client(made / "experiments")
    experiment = client.get_experiment_by_name("on glass")
    (found,) = client.search_runs([experiment.experiment_id])

    def history(name: str) -> list[tuple[int, float]]:
        return [(each.step, each.value) for each in client.get_metric_history(found.info.run_id, name)]

    assert found.info.run_name == run.name
    assert found.info.status == "FINISHED"
    for name in ("loss", "learning_rate", "gradient_norm"):
        assert history(f"train/{name}") == steps_of(run, name)
        assert len(history(f"train/{name}")) == 8
    assert history("val/error") == evaluations_of(run)
    assert found.data.params["train.optimizer.lr"] == "0.02"
    assert found.data.params["stage.B.steps"] == "12"
    verdict = events_of(run, "gate_decided")[0]["verdict"]
    assert found.data.tags["gate.B.exit.threshold"] == f"pass (go on): {verdict['reason']}"
    assert found.data.tags["run"] == str(run)
    assert found.data.tags["status"] == "done"


def test_tensorboard_reads_back_scalars_and_texts(made: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = only_run(made)
    read = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0, "tensors": 0}).Reload()

    def scalars(name: str) -> list[tuple[int, float]]:
        return [(each.step, each.value) for each in read.Scalars(name)]

    def text(name: str) -> str:
        (one,) = read.Tensors(f"{name}/text_summary")
        return str(one.tensor_proto.string_val[0].decode())

    for name in ("loss", "learning_rate", "gradient_norm"):
        assert scalars(f"train/{name}") == [(step, pytest.approx(value)) for step, value in steps_of(run, name)]
    assert scalars("val/error") == [(step, pytest.approx(value)) for step, value in evaluations_of(run)]
    assert "| train.optimizer.lr | 0.02 |" in text("recipe")
    assert text("gate.B.exit.threshold").startswith("pass (go on): ")
    assert text("status") == "done"


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address at which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def test_a_run_finishes_without_its_server_and_one_warning_names_it(
    forks: Forks, toy_recipe: WriteRecipe, tmp_path: Path, nobody: str
) -> None:
    recipe = toy_recipe(tracker=[{"plugin": "mlflow", "uri": nobody}], stage=[STAGE_A])
    began = time.monotonic()
    done = forks.run("run", recipe, folder=tmp_path)
    assert done.code == 0, done.err
    assert time.monotonic() - began < 30, "MLflow by itself would try for minutes"
    run = only_run(tmp_path)
    assert json.loads((run / "status.json").read_text())["status"] == "done"
    assert events_of(run, "run_finished")[0]["status"] == "done"
    warnings = [event["text"] for event in events_of(run, "note") if event["level"] == "warning"]
    assert len(warnings) == 1, warnings
    assert warnings[0].startswith(f"tracker 'mlflow' ({nobody}) failed, and the run goes on without it: ")
    assert done.out.count("the run goes on without it") == 1
    assert "Traceback" not in done.out + done.err


def test_a_resumed_run_goes_on_in_the_same_run_of_mlflow(
    made: Path, forks: Forks, mlflow_client: Callable[[Path], Any]
) -> None:
    (only_run(made) / "status.json").unlink()
    done = forks.run("run", "toy.toml", "--resume", folder=made)
    assert done.code == 0, done.err
    client = mlflow_client(made / "experiments")
    (found,) = client.search_runs([client.get_experiment_by_name("on glass").experiment_id])
    assert found.info.status == "FINISHED"


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb", "trackio"])
def test_a_library_that_is_missing_is_told_with_its_extra_before_there_is_a_run(
    engine: Command, toy_recipe: WriteRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    done = engine("run", toy_recipe(tracker=[{"plugin": name}]))
    assert done.code == 1
    assert f"the tracker '{name}' needs {name}, which is not installed" in done.err
    assert f'pip install "experiment-engine[{name}]"' in done.err
    assert not (tmp_path / "runs").exists()


def test_two_places_for_mlflow_are_one_too_many(engine: Command, toy_recipe: WriteRecipe) -> None:
    done = engine("check", toy_recipe(tracker=[{"plugin": "mlflow", "uri": "http://there", "folder": "here"}]))
    assert done.code == 2
    assert "uri and folder are two places; give one of them" in done.err


def test_the_tables_of_the_page_on_trackers_are_good(engine: Command, toy_recipe: WriteRecipe) -> None:
    page = (Path(__file__).parents[2] / "docs" / "trackers.md").read_text()
    path = toy_recipe()
    path.write_text(path.read_text() + re.search(r"```toml\n(.*?)```", page, re.DOTALL)[1])
    (short,) = re.findall(r"`--set '(tracker=.*?)'`", page)
    assert engine("check", path).code == 0
    assert engine("check", path, "--set", "tracker.mlflow.uri=http://other:5000").code == 0
    assert engine("check", path, "--set", short).code == 0


@pytest.mark.parametrize(("name", "options"), [("tensorboard", {}), ("mlflow", {"folder": "experiments"})])
def test_they_keep_their_promises(
    name: str, options: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("MLFLOW_ALLOW_FILE_STORE", "MLFLOW_DISABLE_TELEMETRY"):
        monkeypatch.setenv(variable, "true")
    for variable, value in SETTINGS.items():
        monkeypatch.setenv(variable, value)  # which it would leave set
    for promise in testing.tracker(name, options):
        promise()
