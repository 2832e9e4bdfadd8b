"""Weights that are kept smaller are read again, by the engine or by this package, and lose what is told."""

from __future__ import annotations

from pathlib import Path

import deploy_world
import pytest
import torch
from conftest import Command
from deploy_world import Wide, WideOptions, rows, trained, write_recipe
from engine_deploy.smaller import load, save, take_units_out, zero_smallest
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

import engine
from engine.errors import InputError, WorldError
from engine.system import System

deploy = deploy_world.deploy


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("run"), model={"hidden": 200})


def wide(seed: int, hidden: int = 24) -> Wide:
    torch.manual_seed(seed)
    return Wide(WideOptions(hidden=hidden))


def batch() -> dict[str, torch.Tensor]:
    return {"image": torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))}


@pytest.mark.parametrize("keep", ["fp32", "bf16", "int8"])
def test_a_system_that_reads_the_file_has_the_weights_to_the_bits_that_were_kept(keep: str, tmp_path: Path) -> None:
    made, read = wide(0), wide(1)
    save(made, tmp_path / "small.safetensors", keep)
    load(read, tmp_path / "small.safetensors")
    for name, tensor in made.state_dict().items():
        found, size = read.state_dict()[name], tensor.abs().flatten(1).amax(1) if tensor.ndim > 1 else None
        assert found.dtype == torch.float32
        if keep == "fp32" or size is None:
            assert torch.equal(found, tensor)
        elif keep == "bf16":
            assert torch.equal(found, tensor.bfloat16().float())
        else:
            apart = (found - tensor).abs().flatten(1).amax(1)
            assert bool((apart <= size / 127 * 0.5001).all())
            assert bool((apart > 0).any())


def test_the_file_keeps_what_the_weights_belong_to(tmp_path: Path) -> None:
    made = System(wide(0), None, "target")
    made.base.traits = {"axis": "paper"}
    save(made, tmp_path / "small.safetensors", "bf16")
    with safe_open(tmp_path / "small.safetensors", "pt") as file:
        assert file.metadata() == {"axis": "paper", "keep": "bf16"}


def test_the_sizes_on_disk_are_a_half_and_about_a_quarter(run: Path, tmp_path: Path, deploy: Command) -> None:
    for keep in ("fp32", "bf16", "int8"):
        done = deploy("shrink", run, tmp_path / f"{keep}.safetensors", "--keep", keep)
        assert done.code == 0, done.err
    size = {keep: (tmp_path / f"{keep}.safetensors").stat().st_size for keep in ("fp32", "bf16", "int8")}
    assert 0.5 < size["bf16"] / size["fp32"] < 0.62
    assert 0.25 < size["int8"] / size["fp32"] < 0.45


def test_the_engine_itself_reads_bf16_and_pruned_weights(
    run: Path, tmp_path: Path, deploy: Command, engine: Command
) -> None:
    deploy("shrink", run, tmp_path / "small.safetensors", "--keep", "bf16", "--prune", "0.5")
    measured = engine("eval", run, "--weights", tmp_path / "small.safetensors")
    assert measured.code == 0, measured.err
    whole = engine("eval", run).out
    assert measured.out != whole


def test_the_engine_takes_no_bytes_for_weights(run: Path, tmp_path: Path, deploy: Command, engine: Command) -> None:
    deploy("shrink", run, tmp_path / "small.safetensors", "--keep", "int8")
    refused = engine("eval", run, "--weights", tmp_path / "small.safetensors")
    assert refused.code == 2
    assert "missing: base.encoder.weight" in refused.err


@pytest.mark.parametrize("more", [["--keep", "int8"], ["--narrow", "0.5"], ["--keep", "int8", "--narrow", "0.25"]])
def test_a_shrunk_file_is_read_again_and_measured_beside_what_was_trained(
    more: list[str], run: Path, tmp_path: Path, deploy: Command
) -> None:
    file = tmp_path / "small.safetensors"
    assert deploy("shrink", run, file, *more).code == 0
    trained, small = rows(deploy("compare", run, file, "--json", "--repeats", "1"))
    assert small["bytes"] == file.stat().st_size < trained["bytes"]
    assert 0 < abs(small["mean"]["error"] - trained["mean"]["error"]) < 1


def test_the_smallest_weights_over_all_layers_are_zero_and_no_others() -> None:
    made, before = wide(0), wide(0)
    share = zero_smallest(made, 0.3)
    assert share == pytest.approx(0.3, abs=0.002)
    layers = ("encoder", "mlp.0", "mlp.2", "head")
    old, new = (
        torch.cat([each.get_parameter(f"{name}.weight").detach().flatten() for name in layers])
        for each in (before, made)
    )
    assert bool((new[new != 0] == old[new != 0]).all())
    assert float(old[new == 0].abs().max()) <= float(old[new != 0].abs().min())
    assert made.state_dict().keys() == before.state_dict().keys()


def test_units_that_do_nothing_are_taken_out_without_a_trace(tmp_path: Path) -> None:
    made = wide(0)
    with torch.no_grad():
        made.mlp[2].weight[:, 5:11] = 0
        expected = made(batch()).value
        assert take_units_out(made, 0.25) == 6
        torch.testing.assert_close(made(batch()).value, expected, atol=1e-6, rtol=0)
    assert (made.mlp[0].weight.shape, made.mlp[2].weight.shape) == ((18, 16), (16, 18))
    save(made, tmp_path / "narrow.safetensors", "fp32")
    read = wide(1)
    load(read, tmp_path / "narrow.safetensors")
    with torch.no_grad():
        assert torch.equal(read(batch()).value, made(batch()).value)


class Timms(nn.Module):
    """Two layers under the names that timm and DINOv2 have for them."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4)


def test_the_names_of_timm_are_known_and_other_networks_are_refused() -> None:
    made = Timms()
    assert take_units_out(made, 0.5) == 4
    assert made.fc2.in_features == 4
    with pytest.raises(InputError, match="no two linear layers with an activation between them"):
        take_units_out(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), 0.5)


def test_a_system_without_layers_has_nothing_to_prune() -> None:
    with pytest.raises(InputError, match="no linear layer and no convolution, so --prune has no use"):
        zero_smallest(nn.Sequential(nn.BatchNorm2d(2)), 0.5)


def test_files_of_another_system_damaged_ones_and_none_are_told(tmp_path: Path) -> None:
    save(nn.Sequential(nn.Conv2d(1, 2, 3)), tmp_path / "other.safetensors", "int8")
    with pytest.raises(InputError, match=r"other\.safetensors holds the weights of another system: Missing key"):
        load(wide(0), tmp_path / "other.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "other.safetensors").read_bytes()[:-3])
    with pytest.raises(WorldError, match=r"cut\.safetensors is damaged"):
        load(wide(0), tmp_path / "cut.safetensors")
    with pytest.raises(WorldError, match="no weights file at"):
        load(wide(0), tmp_path / "none.safetensors")


@pytest.mark.parametrize(("flag", "share"), [("--prune", "1"), ("--prune", "0"), ("--narrow", "-0.5")])
def test_a_share_is_between_nothing_and_all(flag: str, share: str, run: Path, tmp_path: Path, deploy: Command) -> None:
    done = deploy("shrink", run, tmp_path / "small.safetensors", f"{flag}={share}")
    assert done.code == 2
    assert f"error {share} is no share of weights" in done.err
    assert not (tmp_path / "small.safetensors").exists()


def test_a_recipe_that_has_not_run_is_shrunk_as_it_starts(tmp_path: Path, deploy: Command) -> None:
    assert deploy("shrink", write_recipe(tmp_path), tmp_path / "start.safetensors").code == 0
    recipe = engine.load_recipe(tmp_path / "toy.toml")
    fresh, written = engine.load_system(recipe).state_dict(), load_file(tmp_path / "start.safetensors")
    assert fresh.keys() == written.keys()
    assert all(torch.equal(fresh[name], written[name]) for name in fresh)
