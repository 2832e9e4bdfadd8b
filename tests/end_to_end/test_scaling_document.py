"""What docs/scaling.md tells people to type starts several processes; its scripts and settings are well formed."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from conftest import Command, WriteRecipe, events_of, only_run
from pages import ROOT, commands
from toy_world import STAGE_A

TEXT = (ROOT / "docs" / "scaling.md").read_text()


def blocks(language: str) -> list[str]:
    """The document's code blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_every_command_of_the_scaling_guide_runs(
    engine: Command, two: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    toy_recipe(file="recipe.toml", stage=[{**STAGE_A, "steps": 2}])
    found = commands("docs/scaling.md")
    for words in found:
        if "--resume" in words:
            newest = max((tmp_path / "runs" / "toy").iterdir())
            (newest / "status.json").unlink()
        several = words[-2:] == ["--processes", "2"]
        outcome = two(*words[:-2]) if several else engine(*words)
        assert outcome.code == 0, f"{words}: {outcome.err}"
    assert len(found) == 3


def test_accelerate_launch_starts_processes_on_a_machine_without_a_gpu(
    process: Command, toy_recipe: WriteRecipe, tmp_path: Path
) -> None:
    toy_recipe(file="recipe.toml", stage=[{**STAGE_A, "steps": 2}])
    (line,) = [each for each in "".join(blocks("sh")).splitlines() if "--num_processes 2" in each]
    command, *words = shlex.split(line)
    assert command == "accelerate"
    done = process(*words[1:], launcher=("-m", "accelerate.commands.launch"))
    assert done.code == 0, done.err
    assert done.out.count("held-out data") == 1
    assert len(events_of(only_run(tmp_path), "run_started")) == 1


@pytest.mark.parametrize("script", blocks("bash"))
def test_the_scripts_are_shell(script: str) -> None:
    checked = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_accelerate_reads_the_fsdp_configuration(tmp_path: Path) -> None:
    (text,) = blocks("yaml")
    (tmp_path / "fsdp.yaml").write_text(text)
    read = load_config_from_file(str(tmp_path / "fsdp.yaml"))
    assert read.distributed_type == "FSDP"
    assert read.fsdp_config["fsdp_version"] == 2
