from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toy_world import system

from engine.errors import InputError
from engine.globs import Selection, matches, select

LEVEL = st.sampled_from(["a", "b", "ab", "head"])
NAMES = st.lists(LEVEL, min_size=1, max_size=5).map(".".join)
PATTERNS = st.lists(st.sampled_from(["a", "b", "a*", "*", "**", "he?d"]), min_size=1, max_size=5).map(".".join)


def oracle(pattern: list[str], name: list[str]) -> bool:
    """The definition, word for word, in exponential time."""
    if not pattern:
        return not name
    if pattern[0] == "**":
        return any(oracle(pattern[1:], name[taken:]) for taken in range(len(name) + 1))
    return bool(name) and fnmatchcase(name[0], pattern[0]) and oracle(pattern[1:], name[1:])


@given(PATTERNS, NAMES)
def test_patterns_match_as_the_definition_says(pattern: str, name: str) -> None:
    assert matches(pattern, name) == oracle(pattern.split("."), name.split("."))


@given(NAMES)
def test_a_name_matches_itself_and_two_stars(name: str) -> None:
    assert matches(name, name)
    assert matches("**", name)
    assert matches(f"**.{name}.**", name)


@given(NAMES, LEVEL)
def test_one_star_is_exactly_one_level(name: str, more: str) -> None:
    assert matches(f"{name}.*", f"{name}.{more}")
    assert not matches(f"{name}.*", name)
    assert not matches(f"{name}.*", f"{name}.{more}.{more}")


def test_many_double_stars_do_not_take_exponential_time() -> None:
    # Following the definition word for word, as `oracle` does, this would not end in a lifetime.
    assert not matches(".".join(["**", "a"] * 30), ".".join(["a"] * 29 + ["b"] * 60))


def test_a_pattern_selects_by_module_and_by_tensor() -> None:
    by_module = select(system(), ["base.head"], [])
    by_tensor = select(system(), ["base.head.bias"], [])
    assert by_module.parameters == {"base.head.weight", "base.head.bias"}
    assert by_tensor.parameters == {"base.head.bias"}


def test_frozen_wins_over_trainable() -> None:
    chosen = select(system(norm=True), ["**"], ["base.head", "base.norm.**"])
    assert not any(name.startswith(("base.head", "base.norm")) for name in chosen.parameters)
    assert "base.norm.running_mean" in chosen.frozen_buffers
    assert "base.encoder.0.weight" in chosen.parameters
    assert "injection.head.weight" in chosen.parameters


def test_what_no_pattern_names_is_frozen() -> None:
    chosen = select(system(norm=True), ["injection.**"], [])
    assert chosen.parameters == {"injection.head.weight", "injection.head.bias"}
    assert "base.encoder.0.weight" in chosen.frozen_parameters
    assert {"base.calls", "base.norm.running_var"} <= chosen.frozen_buffers
    assert chosen.modules == {"injection", "injection.head"}


def test_parameters_are_either_trained_or_frozen() -> None:
    chosen = select(system(norm=True), ["base.encoder.*"], ["**.bias"])
    everything = {name for name, _ in system(norm=True).named_parameters()}
    assert chosen.parameters | chosen.frozen_parameters == everything
    assert chosen.parameters == {"base.encoder.0.weight"}


def test_an_absent_injection_is_frozen_whatever_the_patterns_say() -> None:
    chosen: Selection = select(system(), ["**"], [], absent="injection")
    assert all(name.startswith("base.") for name in chosen.parameters)
    assert "injection.head.weight" in chosen.frozen_parameters


def test_a_pattern_without_match_lists_near_names_and_its_place() -> None:
    with pytest.raises(InputError) as error:
        select(system(), ["base.encodr.**", "**"], ["injection.haed"], where=["r.toml:3:1", "r.toml:3:9", "r.toml:4:1"])
    assert [problem.where for problem in error.value.problems] == ["r.toml:3:1", "r.toml:4:1"]
    assert "base.encoder.**" in error.value.problems[0].near
    assert "injection.head" in error.value.problems[1].near


def test_a_module_without_tensors_of_its_own_suggests_crossing_levels() -> None:
    with pytest.raises(InputError, match=r"holds no tensors itself.*'base.encoder.\*\*'"):
        select(system(), ["base.encoder"], [])


def test_a_pattern_for_what_has_no_parameters_says_so_and_names_what_has_some() -> None:
    bare = system()
    bare.base = torch.nn.Sequential(torch.nn.ReLU())
    for pattern in ("base", "base.**", "base.0"):
        with pytest.raises(InputError) as error:
            select(bare, [pattern], [])
        (problem,) = error.value.problems
        assert problem.what == f"pattern '{pattern}' names modules without parameters, in which nothing can train"
        assert problem.expected == "a pattern for injection"


def test_a_pattern_for_the_absent_injection_says_that_it_is_off() -> None:
    with pytest.raises(InputError, match="selects only injection, which is off"):
        select(system(), ["injection.**"], [], absent="injection")
