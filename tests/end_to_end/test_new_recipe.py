"""`engine new recipe`: what it writes is a recipe, whatever is installed; what it is not told it asks, or names."""

from __future__ import annotations

import io
import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest
import tomli
from conftest import Command, events_of, only_run
from toy_world import PLUGIN

from engine.cli import asking
from engine.plugins import load
from engine.recipe.beginning import split_of

BOUND = ("--set", "injection.max_correction=6")
STEREO = ("--loss", "disparity_smooth_l1", "--metric", "epe")
CHECKOUT = ("--set", "model.checkout=there", "--set", "model.preset=raft_stereo")
WITHIN = '{ plugin = "motorcycle", probability = 1.0 }'
NEEDS = {"root": "there", "file": "pairs.csv", "of": '{ plugin = "motorcycle" }', "sets": f"[{WITHIN}]", "count": "3"}
NEEDS |= {"resolution": "H", "size": "half"}
ONE_PLACE = ("--set", "data.train.path=a.zarr", "--set", "data.val.path=b.zarr")
"""What the data set `zarr` needs, which no option alone asks for."""
TOY = ("--plugin", str(PLUGIN), "--model", "toy", "--injection", "toy", "--data", "toy", "--val", "toy")
TOY += ("--loss", "square", "--metric", "error")


@pytest.fixture
def pairs(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("left,right,disparity\n")


@pytest.mark.usefixtures("pairs")
def test_every_data_set_makes_a_recipe_that_check_accepts(engine: Command, tmp_path: Path) -> None:
    loaded = load()
    names = loaded.names("datasets")
    for name in names:
        options = loaded.get("datasets", name).options
        asked = [option for option, field in options.model_fields.items() if field.is_required()]
        needs = [f"--set=data.train.{option}={NEEDS[option]}" for option in asked]
        held_out = () if split_of(options) or name == "zarr" else ("--val", "motorcycle")
        more = (*needs, *held_out, *(ONE_PLACE if name == "zarr" else ()))
        module = ("--injection", "polarization", "--stages", "module", *BOUND)
        done = engine("new", "recipe", f"{name}.toml", "--model", "s2m2", *module, "--data", name, *STEREO, *more)
        assert done.code == 0, done.err
    done = engine("check", *(f"{name}.toml" for name in names))
    assert done.code == 0, done.err
    assert done.out.count(": good (B)") == len(names) > 30
    held_out = tomli.loads((tmp_path / "kitti2015.toml").read_text())["data"]
    assert (held_out["train"]["part"], held_out["val"]["part"]) == ("train", "val")
    assert held_out["train"]["root"] == held_out["val"]["root"] == str(tmp_path / "there")


@pytest.mark.parametrize(
    ("model", "injection", "stages"),
    [
        *((("s2m2",), injection, "base") for injection in ("none", "polarization")),
        *((("s2m2",), "polarization", stages) for stages in ("module", "three")),
        *((("checkout", *CHECKOUT), injection, "base") for injection in ("none", "polarization")),
        *((("checkout", *CHECKOUT), "polarization", stages) for stages in ("module", "three")),
        (("sgbm",), "polarization", "module"),
    ],
)
def test_every_model_and_injection_make_a_recipe_that_check_accepts(
    engine: Command, model: tuple[str, ...], injection: str, stages: str
) -> None:
    bound = BOUND if injection != "none" else ()
    more = ("--data", "polarized_scenes", "--injection", injection, "--stages", stages, *STEREO, *bound)
    done = engine("new", "recipe", "mine.toml", "--model", *model, *more)
    assert done.code == 0, done.err
    done = engine("check", "mine.toml")
    assert done.code == 0, done.err
    assert f"good ({'A -> B -> C' if stages == 'three' else 'B' if stages == 'module' else 'A'})" in done.out


def test_it_runs_as_it_stands(engine: Command, tmp_path: Path) -> None:
    gate = ("--gate", "feasibility", "--set", "stage.B.gate.feasibility.accept=['undetermined']")  # of so few samples
    assert engine("new", "recipe", "mine.toml", *TOY, "--steps", "2", *gate).code == 0
    done = engine("run", "mine.toml")
    assert done.code == 0, done.err
    run = only_run(tmp_path, "mine")
    assert [event["name"] for event in events_of(run, "stage_finished")] == ["A", "B", "C"]
    assert [event["check"] for event in events_of(run, "gate_decided")] == ["feasibility"]
    assert "error" in events_of(run, "evaluated")[0]["evaluation"]["mean"]


def test_one_of_a_real_network_runs_too(engine: Command, tmp_path: Path) -> None:
    small = [f"--set=data.{split}.{key}" for split in ("train", "val") for key in ("count=2", "height=64", "width=64")]
    made = ("--model", "s2m2", "--weights", "builtin:nano-opaque", "--injection", "polarization", *BOUND, *STEREO)
    only = ("--stages", "module", "--gate", "none", "--steps", "1", "--set", "train.batch_size=2")
    assert engine("new", "recipe", "mine.toml", *made, *only, "--data", "polarized_scenes", *small).code == 0
    done = engine("run", "mine.toml")
    assert done.code == 0, done.err
    last = events_of(only_run(tmp_path, "mine"), "evaluated")[-1]
    assert last["evaluation"]["mean"].keys() == {"epe/all", "nonfinite/all"}


def test_every_flag_is_in_the_recipe_and_every_section_says_what_it_is_for(engine: Command, tmp_path: Path) -> None:
    gate = (
        "--gate",
        "threshold",
        "--set",
        "stage.B.gate.threshold.metric=error",
        "--set",
        "stage.B.gate.threshold.max=1",
    )
    more = ("--warp", "pred", "--steps", "7", "--set", "stage.C.steps=9", "--set", "train.optimizer.lr=0.01", *gate)
    assert engine("new", "recipe", "folder/mine.toml", *TOY, *more).code == 0
    text = (tmp_path / "folder" / "mine.toml").read_text()
    made = tomli.loads(text)
    assert (tmp_path / "folder" / made["plugins"][0]).resolve() == PLUGIN.resolve()
    assert [stage["steps"] for stage in made["stage"]] == [7, 7, 9]
    assert made["stage"][1]["warp"] == "pred"
    assert made["stage"][1]["gate"] == [
        {"check": "threshold", "at": "exit", "on_fail": "warn", "metric": "error", "max": 1}
    ]
    assert made["train"]["optimizer"] == {"name": "adamw", "lr": 0.01}
    assert made["evaluate"]["key"] == ["error"]
    lines = text.splitlines()
    heads = [number for number, line in enumerate(lines) if line.strip().startswith("[") and " = " not in line]
    assert len(heads) == 10
    assert all(lines[number - 1].strip().startswith("# ") for number in heads)
    assert engine("check", "folder/mine.toml").code == 0


def test_a_gate_that_tells_feasibility_stands_before_the_stage(engine: Command, tmp_path: Path) -> None:
    (tmp_path / "gates.py").write_text(
        "from toy_plugin import Options\nfrom engine.hookspecs import hookimpl\n\n\n@hookimpl\n"
        "def engine_gates(register):\n    register('can', Options, print, feasibility=True)\n"
    )
    done = engine("new", "recipe", "mine.toml", *TOY, "--plugin", "gates.py", "--gate", "can")
    assert done.code == 0, done.err
    made = tomli.loads((tmp_path / "mine.toml").read_text())
    assert made["stage"][1]["gate"] == [{"check": "can", "at": "entry", "on_fail": "stop"}]


def test_what_is_missing_is_named_by_its_flag_where_nobody_can_be_asked(engine: Command, tmp_path: Path) -> None:
    done = engine("new", "recipe", "mine.toml")
    assert done.code == 2
    flags = ["--model", "--injection", "--data", "--loss", "--metric"]
    assert [line.split()[1].rstrip(":") for line in done.err.splitlines()] == flags
    (injections,) = [line for line in done.err.splitlines() if "--injection" in line]
    assert injections.endswith(f"is missing; expected one of {', '.join(load().names('injections'))}, none")

    done = engine(
        "new", "recipe", "mine.toml", "--model", "s2m2", "--injection", "polarization", "--data", "eth3d", *STEREO
    )
    assert done.code == 2
    assert [line.split(":")[0] for line in done.err.splitlines()] == [
        "error --set injection.max_correction=VALUE",
        "error --set data.train.root=VALUE",
    ]
    done = engine("new", "recipe", "mine.toml", *TOY[:-6], "--loss", "square", "--metric", "error")
    assert done.err.startswith(
        "error --val: 'toy' has no option that is 'train' or 'val', so the data to measure on are missing"
    )
    assert not (tmp_path / "mine.toml").exists()


MISTAKES = [
    (("--model", "s2m3"), "error --model s2m3: there is no model 's2m3'. Did you mean 's2m2'?"),
    (("--loss", "smoothnes"), "error --loss smoothnes: there is no loss 'smoothnes'. Did you mean 'smoothness'"),
    (("--set", "injection.max_correction=-1"), "'max_correction' is -1; expected a number above 0"),
    (("--set", "injection.width=two"), "error --set injection.width=two: 'width' is the text 'two'; expected a whole"),
    (("--set", "trian.batch_size=2"), "--set trian.batch_size=2: unknown key 'trian' in the recipe. Did you mean"),
    (("--weights", "builtin:nano"), "error --weights: the model ships no weights 'builtin:nano'. Did you mean"),
    (("--injection", "none", "--stages", "three"), "error --stages three: these train an injection, and there is none"),
    (("--model", "sgbm"), "error --stages three: pattern 'base.**' names modules without parameters"),
    (
        ("--gate", "saturation"),
        "error --gate saturation: no metric of [evaluate] yields 'sat95/transparent'; expected "
        '{ name = "correction" } among the metrics of [evaluate]',
    ),
]  # fmt: skip


@pytest.mark.parametrize(("flags", "words"), MISTAKES)
def test_a_mistake_is_told_by_its_flag_and_nothing_is_written(
    engine: Command, tmp_path: Path, flags: tuple[str, ...], words: str
) -> None:
    given = {"--model": "s2m2", "--injection": "polarization", "--data": "polarized_scenes", "--metric": "epe"}
    given |= {"--loss": "disparity_l1"} | {
        key: value for key, value in zip(flags[::2], flags[1::2], strict=True) if key != "--set"
    }
    sets = [part for key, value in zip(flags[::2], flags[1::2], strict=True) if key == "--set" for part in (key, value)]
    done = engine("new", "recipe", "mine.toml", *(part for pair in given.items() for part in pair), *BOUND, *sets)
    assert done.code == 2
    assert words in done.err
    assert not (tmp_path / "mine.toml").exists()


def test_other_stages_are_advised_only_where_the_globs_of_these_do_not_fit(engine: Command) -> None:
    advice = "--stages module trains the injection alone"
    box = ("--model", "sgbm", "--injection", "polarization", *BOUND, "--data", "polarized_scenes", *STEREO)
    assert engine("new", "recipe", "mine.toml", *box).err.splitlines()[-1].strip() == advice
    done = engine("new", "recipe", "mine.toml", *TOY, "--set", "train.optimizer.groups=[{match='base.**',lr=0.1}]")
    assert done.code == 2
    assert "optimizer group 'base.**' matches no trainable parameter of stage B" in done.err
    assert advice not in done.err


def test_a_file_is_written_over_only_by_force(engine: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("mine")
    done = engine("new", "recipe", "mine.toml", *TOY)
    assert done.code == 2
    assert "mine.toml is there already" in done.err
    assert (tmp_path / "mine.toml").read_text() == "mine"
    assert engine("new", "recipe", "mine.toml", *TOY, "--force").code == 0
    assert engine("check", "mine.toml").code == 0


@pytest.mark.parametrize(("name", "words"), [("mine", "does not end in .toml"), ("my file.toml", "letters, digits")])
def test_a_name_that_cannot_be_a_recipes_is_refused(engine: Command, tmp_path: Path, name: str, words: str) -> None:
    done = engine("new", "recipe", name, *TOY)
    assert done.code == 2
    assert words in done.err
    assert not list(tmp_path.iterdir())


def test_a_terminal_is_asked_and_asked_again_after_a_mistake(tmp_path: Path) -> None:
    answers = [
        "s2m3",
        "s2m2",
        "builtin:nano",
        "",
        "",
        "polarization",
        "polarized_scenes",
        "modul",
        "module",
        "disparity_l1, smoothness",
        "epe",
        "gt",
    ]
    answers += ["feasibility", "-2", "2.5"]
    ours, theirs = pty.openpty()
    asked = [sys.executable, "-m", "engine", "new", "recipe", "mine.toml"]
    with subprocess.Popen(asked, cwd=tmp_path, stdin=theirs, stderr=theirs, stdout=subprocess.PIPE) as process:
        os.close(theirs)
        os.write(ours, "".join(f"{answer}\n" for answer in answers).encode())
        seen = b""
        while select.select([ours], [], [], 60)[0]:
            try:
                seen += os.read(ours, 65536)
            except OSError:  # the other side is closed
                break
        assert process.wait() == 0, seen.decode()
    os.close(ours)
    assert "there is no model 's2m3'. Did you mean 's2m2'?" in seen.decode()
    assert "weights (a file, builtin:nano-opaque, none) [none]:" in seen.decode()
    assert "the model ships no weights 'builtin:nano'. Did you mean 'builtin:nano-opaque'?" in seen.decode()
    assert "an answer is needed: there is no default" in seen.decode()
    assert "there is no pattern of stages 'modul'. Did you mean 'module'?" in seen.decode()
    assert "injection.max_correction: 'max_correction' is -2; expected a number above 0" in seen.decode()
    made = tomli.loads((tmp_path / "mine.toml").read_text())
    assert made["injection"] == {"plugin": "polarization", "max_correction": 2.5}
    assert made["train"]["losses"] == [{"name": "disparity_l1"}, {"name": "smoothness"}]
    assert [stage["name"] for stage in made["stage"]] == ["B"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_flags_are_not_asked_for_and_a_terminal_that_is_closed_leaves_nothing(
    engine: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not asking.Asking().on_terminal
    monkeypatch.setattr(sys, "stdin", Terminal("none\n"))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    more = ("--stages", "three", "--gate", "none", "--warp", "gt")
    done = engine("new", "recipe", "mine.toml", *TOY, *more)  # only the weights are left to ask for
    assert done.code == 0, done.err
    assert sys.stdin.read() == ""
    assert "gate" not in tomli.loads((tmp_path / "mine.toml").read_text())["stage"][1]

    monkeypatch.setattr(sys, "stdin", Terminal("toy\n"))
    done = engine("new", "recipe", "other.toml", "--plugin", PLUGIN)
    assert done.code == 1
    assert "Aborted" in done.err
    assert not (tmp_path / "other.toml").exists()
