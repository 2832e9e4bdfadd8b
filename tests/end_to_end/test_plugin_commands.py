"""Commands that installed plugins bring: listed, called, guarded, and never in the way of the engine's own."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from conftest import Command, Installed

from engine import plugins
from engine.commands import COMMANDS

GREET = '''
import typer

from engine.errors import GateRefusedError, WorldError
from engine.hookspecs import hookimpl


def greet(name: str, how: str = "well") -> None:
    """Greet somebody."""
    if how == "badly":
        raise WorldError("nobody is there")
    if how == "never":
        raise GateRefusedError("no")
    if how == "wildly":
        raise LookupError("no such word")
    if how == "curtly":
        raise typer.Exit(7)
    print(f"hello {name}")


group = typer.Typer(help="Two of them.")
group.command()(greet)


@group.command()
def leave() -> None:
    print("bye")


@hookimpl
def engine_commands(register):
    register("greet", "Say hello.", "greeting_plugin:greet")
    register("talk", "Say several things.", group)
'''

LINE = "Say hello."


@pytest.fixture
def greeting(installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path / "cache"))
    return installed("greeting", GREET)


@pytest.mark.usefixtures("greeting")
def test_a_command_of_a_plugin_is_listed_explained_and_called(engine: Command) -> None:
    listed = engine("--help").out
    assert listed.index("Commands of plugins:") > max(listed.index(f"  {name} ") for name in COMMANDS)
    assert re.search(rf"^  greet +{LINE}$", listed, re.MULTILINE)
    assert "Greet somebody." in engine("greet", "--help").out
    assert engine("greet", "you").out == "hello you\n"
    assert engine("talk", "leave").out == "bye\n"
    assert engine("greet").code == 2


@pytest.mark.usefixtures("greeting")
def test_it_is_named_among_what_plugins_bring(engine: Command) -> None:
    row = next(line.split() for line in engine("plugins").out.splitlines() if line.split()[:2] == ["commands", "greet"])
    assert row == ["commands", "greet", "greeting", "greeting", "1.0", *LINE.split()]
    told = json.loads(engine("plugins", "--json").out)
    assert {"name": "greet", "line": LINE, "plugin": "greeting", "distribution": "greeting 1.0"} in told["commands"]


@pytest.mark.parametrize(
    ("how", "code", "says"),
    [
        ("badly", 1, "error nobody is there\n"),
        ("never", 4, "error no\n"),
        ("wildly", 1, "error command 'greet' of plugin 'greeting' failed: LookupError: no such word (FILE:15)\n"),
        ("curtly", 7, ""),
    ],
)
def test_what_it_raises_is_told_in_words_with_its_exit_code(
    engine: Command, greeting: Path, how: str, code: int, says: str
) -> None:
    done = engine("greet", "you", "--how", how)
    assert (done.code, done.err.replace(str(greeting / "greeting_plugin.py"), "FILE")) == (code, says)


@pytest.mark.usefixtures("greeting")
def test_a_user_without_a_home_directory_is_helped_too(engine: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENGINE_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as where the system does not know its user
    done = engine("--help")
    assert done.code == 0, done.err
    assert LINE in done.out
    assert engine("greet", "you").out == "hello you\n"


@pytest.mark.usefixtures("greeting")
def test_the_list_is_made_once_and_the_engines_own_commands_never_make_it(
    engine: Command, installed: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[None] = []
    load = plugins.load
    monkeypatch.setattr(plugins, "load", lambda: [loads.append(None), load()][1])

    for words in (["check", "--help"], ["--version"], ["runs", "list", "--help"]):
        assert engine(*words).code == 0
    assert loads == []
    assert LINE in engine("--help").out
    assert loads == [None]
    assert LINE in engine("--help").out
    assert loads == [None]

    installed("again", GREET.replace("greeting", "again").replace('"greet"', '"wave"').replace('"talk"', '"chat"'))
    assert "  wave " in engine("--help").out
    assert loads == [None, None]


@pytest.mark.usefixtures("greeting")
def test_a_list_that_is_damaged_is_made_again(engine: Command, tmp_path: Path) -> None:
    good = engine("--help").out
    (file,) = (tmp_path / "cache" / "commands").iterdir()
    for text in ("{", "[]", '{"stamp": 1}', json.dumps(json.loads(file.read_text()) | {"commands": [1]})):
        file.write_text(text)
        assert engine("--help").out == good


def test_a_cache_that_cannot_be_written_costs_the_list_nothing(
    engine: Command, installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path / "file"))
    installed("greeting", GREET)
    assert LINE in engine("--help").out


@pytest.mark.parametrize(
    ("registers", "says"),
    [
        ('register("run", "Mine.", print)', "the engine has a command of that name itself; give yours another one"),
        ('register("Greet", "Mine.", print)', "a command's name is small letters, digits and '-'"),
        ('register("greet", "", print)', "the second argument is the line beside the name in `engine --help`"),
        ('register("greet", "Mine.", "nowhere")', "is not of the form 'package.module:attribute'"),
        ('register("greet", "Mine.", 3)', "must be a function, a typer app or 'package.module:attribute'"),
        ('register("greet")', "engine_commands failed: TypeError"),
        ('raise RuntimeError("no luck")', "engine_commands failed: RuntimeError: no luck"),
    ],
)
def test_a_plugin_with_a_command_that_cannot_be_is_named_and_breaks_nothing(
    engine: Command, installed: Installed, registers: str, says: str
) -> None:
    installed(
        "bad",
        f"from engine.hookspecs import hookimpl\n\n@hookimpl\ndef engine_commands(register):\n    {registers}\n",
    )

    listed = engine("plugins")
    assert listed.code == 0
    (line,) = [line for line in listed.out.splitlines() if line.startswith("plugin 'bad' (bad 1.0) could not be")]
    assert says in line
    assert "Train a recipe's stages in order" in engine("run", "--help").out

    missed = engine("greet")
    assert missed.code == 2
    assert "No such command 'greet'" in missed.err
    assert says in missed.err


def test_of_two_plugins_with_one_command_the_first_keeps_it(engine: Command, installed: Installed) -> None:
    for name, word in (("b", "second"), ("a", "first")):
        installed(
            name,
            "from engine.hookspecs import hookimpl\n\n@hookimpl\ndef engine_commands(register):\n"
            f"    register('say', 'Say it.', lambda: print({word!r}))\n",
        )
    assert engine("say").out == "first\n"
    assert "plugin 'b' brings command 'say', which is already the command 'say' of plugin 'a'" in engine("plugins").out


def test_a_command_that_cannot_be_imported_or_read_says_whose_it_is(engine: Command, installed: Installed) -> None:
    installed(
        "bad",
        "import typer\nfrom engine.hookspecs import hookimpl\n\n@hookimpl\ndef engine_commands(register):\n"
        "    register('lost', 'Gone.', 'no_such_module:it')\n"
        "    register('empty', 'Nothing.', typer.Typer())\n",
    )
    assert "  lost" in engine("--help").out
    lost, empty = engine("lost"), engine("empty")
    assert (lost.code, empty.code) == (1, 1)
    assert "command 'lost' of plugin 'bad' could not be imported: ModuleNotFoundError" in lost.err
    assert "command 'empty' of plugin 'bad' could not be made: RuntimeError" in empty.err


@pytest.mark.usefixtures("greeting")
def test_it_is_completed_like_the_others(process: Command, greeting: Path) -> None:
    words = {"_ENGINE_COMPLETE": "complete_bash", "PYTHONPATH": str(greeting)}
    assert process(COMP_WORDS="engine gre", COMP_CWORD="1", **words).out.split() == ["greet"]
    assert process(COMP_WORDS="engine greet --h", COMP_CWORD="2", **words).out.split() == ["--how", "--help"]
