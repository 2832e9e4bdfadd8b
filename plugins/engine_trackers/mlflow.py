"""MLflow: a local folder, a data base, or a server."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.contracts import TrackedRun
from engine_trackers.library import require
from engine_trackers.options import MLflowOptions

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import RunTag

RUN = "engine.run"
"""The tag by which a resumed run is found again."""
STATUS = {"done": "FINISHED", "interrupted": "KILLED"}
"""How the engine's runs end in MLflow's words; every other end is FAILED."""
DATA_BASES = ("sqlite", "postgresql", "mysql", "mssql")

# The client would try a server that is not there for minutes; what failed is tried again with a later figure anyway.
SETTINGS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}

# What one request may hold.
PARAMS, NAME, PARAM, TAG = 100, 250, 6000, 5000


class MLflow:
    """Params, metrics and tags of one MLflow run; what the user's environment sets for MLflow holds."""

    client: MlflowClient

    def __init__(self, options: MLflowOptions) -> None:
        require("mlflow", "mlflow")
        self.experiment = options.experiment
        uri = options.uri or (None if options.folder else os.environ.get("MLFLOW_TRACKING_URI"))
        if uri and uri.startswith(DATA_BASES):
            require("sqlalchemy", "mlflow", "mlflow")
        folder = (options.folder or Path("mlruns")).absolute()
        self.uri = uri or folder.as_uri()
        self.where = uri or str(folder)
        self.id = ""

    def begin(self, run: TrackedRun) -> None:
        """Create the run with its params, or go on with the one that an earlier part of a resumed run made."""
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        if self.uri.startswith("file:"):
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # which MLflow 3 asks for
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self.client = MlflowClient(self.uri)
        experiment = self._experiment(self.experiment or run.name)
        found = self._earlier(experiment, run) if run.resumed else ""
        if found:
            self.id = found
            self.client.update_run(self.id, status="RUNNING")
            return
        if not self.id:  # not where only the params failed
            created = self.client.create_run(experiment, run_name=run.id, tags={RUN: f"{run.name}/{run.id}"})
            self.id = created.info.run_id
        params = [Param(_name(name), str(value)[:PARAM]) for name, value in run.params.items()]
        for first in range(0, len(params), PARAMS):
            self.client.log_batch(self.id, params=params[first : first + PARAMS], synchronous=True)

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        """A metric each, in one request."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(_name(name), value, now, step) for name, value in figures.items()]
        self.client.log_batch(self.id, metrics=metrics, synchronous=True)

    def tags(self, step: int, tags: Mapping[str, str]) -> None:
        """A tag each."""
        self.client.log_batch(self.id, tags=_tags(tags), synchronous=True)

    def end(self, status: str) -> None:
        """Say how the run ended."""
        self.client.set_terminated(self.id, STATUS.get(status, "FAILED"))

    def _experiment(self, name: str) -> str:
        found = self.client.get_experiment_by_name(name)
        return str(found.experiment_id if found else self.client.create_experiment(name))

    def _earlier(self, experiment: str, run: TrackedRun) -> str:
        runs = self.client.search_runs([experiment], f"tags.`{RUN}` = '{run.name}/{run.id}'", max_results=1)
        return str(runs[0].info.run_id) if runs else ""


def _tags(tags: Mapping[str, str]) -> Sequence[RunTag]:
    from mlflow.entities import RunTag

    return [RunTag(_name(name), text[:TAG]) for name, text in tags.items()]


def _name(name: str) -> str:
    """A name with the characters that MLflow allows."""
    return re.sub(r"[^\w\-. /]", "_", name)[:NAME]
