"""The constructor's arguments: where they come from, what is refused, and the form that a network wants."""

from __future__ import annotations

import copy
import subprocess
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest
from checkout_world import FOLDERS, copied, network, options
from engine_checkouts.arguments import Arguments, arguments, called
from engine_checkouts.origin import commit_of
from engine_checkouts.presets import FOUNDATION_STEREO, RAFT_STEREO
from pydantic import ValidationError

from engine.errors import InputError, WorldError


def test_arguments_are_items_and_attributes_and_may_be_copied() -> None:
    made = Arguments({"max_disp": 64, "hidden_dims": [128] * 3})
    assert made.max_disp == made["max_disp"] == made.get("max_disp") == 64
    twin = copy.deepcopy(made)
    assert twin == made
    assert twin.hidden_dims is not made.hidden_dims
    assert not hasattr(made, "absent")
    made.vit_size = "vits"
    assert made["vit_size"] == "vits"


def test_each_form_that_a_constructor_may_want() -> None:
    values = Arguments({"width": 3, "depth": 2})

    def taken(*found: object, **named: object) -> tuple[object, ...]:
        return found, named

    assert called(taken, values, "mapping") == ((values,), {})
    assert called(taken, values, "namespace") == ((Namespace(width=3, depth=2),), {})
    assert called(taken, values, "positional") == ((3, 2), {})
    assert called(taken, values, "keywords") == ((), {"width": 3, "depth": 2})


def test_the_recipe_wins_over_the_authors_file_and_that_over_the_preset(tmp_path: Path) -> None:
    config = tmp_path / "cfg.yaml"
    config.write_text(
        "max_disp: 192\ncorr_levels: 4\nimg_gamma: null\nnum_steps: 200000\n"
    )  # no vit_size, as published
    made = arguments(FOUNDATION_STEREO, options(config=config, vit_size=None, max_disp=None))
    assert (made.max_disp, made.corr_levels, made.vit_size, made.num_steps) == (192, 4, "vitl", 200000)
    assert arguments(FOUNDATION_STEREO, options(config=config, max_disp=64)).max_disp == 64


def test_all_that_cannot_work_is_named_at_once(tmp_path: Path) -> None:
    config = tmp_path / "cfg.yaml"
    config.write_text("max_disp: 200\nhidden_dims: 64\nn_gru_layers: 1\n")
    with pytest.raises(InputError) as refused:
        arguments(FOUNDATION_STEREO, options(config=config, max_disp=None, arguments={"n_downsample": 3}))
    told = str(refused.value)
    for words in (
        "max_disp = 200; expected a multiple of 32",
        "hidden_dims = 64",
        "n_gru_layers = 1",
        "n_downsample = 3",
    ):
        assert words in told
    assert len(refused.value.problems) == 4


def test_an_argument_that_a_network_does_not_take_is_refused() -> None:
    with pytest.raises(InputError, match="sets 'max_disp', which RAFTStereo does not take"):
        arguments(RAFT_STEREO, options("raft_stereo", max_disp=64))
    with pytest.raises(ValidationError, match="multiple of 32"):
        options(max_disp=100)


def test_an_option_without_effect_is_refused() -> None:
    with pytest.raises(InputError, match="nothing is known of an attention over disparity in RAFTStereo"):
        arguments(RAFT_STEREO, options("raft_stereo", disparity_attention="paper"))
    with pytest.raises(InputError, match="RAFTStereo does not iterate"):
        arguments(replace(RAFT_STEREO, iterations=None), options("raft_stereo"))


def test_a_config_that_is_no_table_is_told(tmp_path: Path) -> None:
    file = tmp_path / "cfg.yaml"
    with pytest.raises(WorldError, match="could not be read"):
        arguments(FOUNDATION_STEREO, options(config=file))
    for content, words in (("a: [", "no YAML"), ("- 1", "no table")):
        file.write_text(content)
        with pytest.raises(InputError, match=words):
            arguments(FOUNDATION_STEREO, options(config=file))


def test_what_was_recorded_of_a_checkout_holds_it_to_its_code(tmp_path: Path) -> None:
    folder = copied(FOLDERS["raft_stereo"], tmp_path / "RAFT-Stereo")
    recorded = options("raft_stereo", checkout=folder)
    assert len(recorded.sources) == 16
    assert options("raft_stereo", checkout=folder, sources=recorded.sources) == recorded
    (folder / "core" / "raft_stereo.py").write_text("# changed\n")
    with pytest.raises(ValidationError, match="are not those that were recorded"):
        options("raft_stereo", checkout=folder, sources=recorded.sources)


def test_a_commit_may_be_asked_for_by_its_first_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at = "6068c1a26f84f8132de10f60b2bc0ce61568e085"
    monkeypatch.setattr("engine_checkouts.options.commit_of", lambda folder: at)
    assert options("raft_stereo").commit == options("raft_stereo", commit="6068c1a").commit == at
    with pytest.raises(ValidationError, match=r"is at commit 6068c1a.*'ffff' was asked for"):
        options("raft_stereo", commit="ffff")


def test_an_unknown_commit_is_told_and_a_known_one_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (note,) = network("raft_stereo", checkout=copied(FOLDERS["raft_stereo"], tmp_path / "RAFT-Stereo")).notes
    assert (note.level, "its commit is unknown" in note.text) == ("warning", True)
    monkeypatch.setattr("engine_checkouts.options.commit_of", lambda folder: "ffff")
    (note,) = network("raft_stereo").notes
    assert "is at commit ffff; RAFTStereo was tried here with 6068c1a26f84" in note.text
    monkeypatch.setattr("engine_checkouts.options.commit_of", lambda folder: RAFT_STEREO.commits[0])
    assert not network("raft_stereo").notes


def test_the_commit_is_that_of_the_repository_which_tracks_the_folder(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        who = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.com")
        return subprocess.run(["git", "-C", tmp_path, *who, *words], check=True, capture_output=True, text=True).stdout

    inner, foreign = tmp_path / "repository" / "Net", tmp_path / "repository" / "foreign"
    for folder in (inner, foreign):
        folder.mkdir(parents=True)
        (folder / "net.py").touch()
    git("init", "-q")
    git("add", "repository/Net")
    git("commit", "-qm", "One.")
    assert commit_of(inner) == git("rev-parse", "HEAD").strip()
    assert commit_of(foreign) == "", "a folder that only lies there has not the commit of the repository around it"
    assert commit_of(tmp_path / "absent") == ""


def test_a_folder_that_is_not_there_or_holds_something_else_is_told_with_the_way_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(WorldError, match=r"no checkout of RAFTStereo at .*git clone https://github.com/princeton-vl"):
        network("raft_stereo", checkout=tmp_path / "absent")
    with pytest.raises(InputError, match=r"holds no core/raft_stereo.py"):
        network("raft_stereo", checkout=tmp_path)
