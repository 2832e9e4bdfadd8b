"""Plugins are found, checked and named; a broken one is told apart and harms no other."""

from __future__ import annotations

import importlib.metadata
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from engine import events, plugins
from engine.errors import InputError, PluginError, WorldError
from engine.hookspecs import hookimpl
from engine.plugins import Plugins

NOTE = events.Note("info", "hello", {})
HEAD = """\
from pydantic import BaseModel
from engine.hookspecs import hookimpl

class Options(BaseModel):
    size: int = 1

"""


class Options(BaseModel):
    size: int = 1


class Bringer:
    """A plugin that registers one thing of one kind, as a module would."""

    def __init__(self, kind: str, *arguments: Any, **extra: Any) -> None:
        def implementation(register: Any) -> None:
            register(*arguments, **extra)

        implementation.__name__ = f"engine_{kind}"
        setattr(self, f"engine_{kind}", hookimpl(implementation))


def with_plugins(**named: object) -> Plugins:
    loaded = Plugins()
    for name, plugin in named.items():
        loaded.add_installed(name, f"{name} 1.0", lambda plugin=plugin: plugin)
    return loaded


def with_file(folder: Path, text: str) -> tuple[Plugins, Path]:
    path = folder / "mine.py"
    path.write_text(HEAD + text)
    return plugins.load([path]), path


class TestRegistering:
    def test_a_registered_thing_is_found_by_kind_and_name(self) -> None:
        loaded = with_plugins(a=Bringer("losses", "l1", Options, "os.path:join"))

        found = loaded.get("losses", "l1")
        assert (found.plugin, found.distribution, found.options) == ("a", "a 1.0", Options)
        assert loaded.names("losses") == ["l1"]
        assert loaded.names("metrics") == []

    def test_an_unknown_name_gives_the_nearest(self) -> None:
        loaded = with_plugins(a=Bringer("losses", "smooth_l1", Options, "os.path:join"))

        with pytest.raises(InputError, match=r"no plugin brings the loss 'smooth_l2'. Did you mean 'smooth_l1'"):
            loaded.get("losses", "smooth_l2")

    def test_an_unknown_name_without_a_near_one_lists_what_there_is(self) -> None:
        loaded = with_plugins(a=Bringer("losses", "l1", Options, "os.path:join"))

        with pytest.raises(InputError, match="expected one of l1"):
            loaded.get("losses", "something")

    def test_a_name_that_is_taken_stays_with_the_first_plugin(self) -> None:
        loaded = with_plugins(
            a=Bringer("losses", "l1", Options, "os.path:join"), b=Bringer("losses", "l1", Options, "os.path:split")
        )

        assert loaded.get("losses", "l1").plugin == "a"
        assert loaded.broken == [
            "plugin 'b' (b 1.0) could not be loaded: plugin 'b' brings loss 'l1', "
            "which is already the loss 'l1' of plugin 'a' (a 1.0)"
        ]

    @pytest.mark.parametrize(
        ("bringer", "says"),
        [
            (Bringer("losses", "", Options, "os.path:join"), "the name must be a text that is not empty"),
            (
                Bringer("losses", "l1", dict, "os.path:join"),
                "options must be a class derived from pydantic.BaseModel, not",
            ),
            (Bringer("losses", "l1", Options, "os.path.join"), "is not of the form 'package.module:attribute'"),
            (Bringer("losses", "l1", Options, 3), "the factory must be callable or 'package.module:attribute'"),
            (Bringer("losses", "l1", Options, "os:path", needs=len), "a loss takes no 'needs'"),
            (Bringer("models", "m", Options, "os:path"), "a model needs target="),
            (Bringer("models", "m", Options, "os:path", target="d", weigths={}), "did you mean 'weights'?"),
            (Bringer("models", "m", Options, "os:path", target="d", weights=["a"]), "weights must map names to files"),
            (Bringer("models", "m", Options, "os:path", target="d", reach=(0, 1)), "reach must be a function"),
            (Bringer("datasets", "d", Options, "os:path", files=".csv"), "files must be suffixes"),
            (Bringer("inspections", "i", Options, "os:path", at=1), "an inspection takes no 'at'"),
            (Bringer("metrics", "m", Options, "os:path"), "a metric needs produces="),
            (Bringer("metrics", "m", Options, "os:path", produces=["a"]), "a metric needs produces=, a function"),
            (Bringer("gates", "g", Options, "os:path", needs=["a"]), "needs must be a function"),
            (Bringer("gates", "g", Options, "os:path", feasibility="yes"), "feasibility says whether"),
            (Bringer("losses", "l1"), "TypeError"),
        ],
    )
    def test_a_registration_that_cannot_work_is_refused(self, bringer: Bringer, says: str) -> None:
        loaded = with_plugins(a=bringer)

        assert len(loaded.broken) == 1
        assert loaded.broken[0].startswith("plugin 'a' (a 1.0) could not be loaded: ")
        assert says in loaded.broken[0]

    def test_an_option_cannot_take_a_key_of_the_engine(self) -> None:
        class Taking(BaseModel):
            weight: float = 1.0

        loaded = with_plugins(a=Bringer("losses", "l1", Taking, "os:path"))

        assert "the engine reads weight itself" in loaded.broken[0]

    def test_names_of_metrics_come_from_the_options(self) -> None:
        loaded = with_plugins(
            a=Bringer("metrics", "m", Options, "os:path", produces=lambda options: [f"error-{options.size}"]),
            b=Bringer("gates", "g", Options, "os:path", needs=lambda options: ["x"]),
            c=Bringer("gates", "h", Options, "os:path"),
        )

        assert loaded.get("metrics", "m").produces(Options(size=3)) == ["error-3"]
        assert loaded.get("gates", "g").needs(Options()) == ["x"]
        assert loaded.get("gates", "h").needs(Options()) == []

    def test_names_that_are_no_texts_blame_the_plugin(self) -> None:
        loaded = with_plugins(a=Bringer("metrics", "m", Options, "os:path", produces=lambda options: [1]))

        with pytest.raises(PluginError, match=r"metric 'm' of plugin 'a' .*expected a list of names"):
            loaded.get("metrics", "m").produces(Options())

    def test_the_reach_of_a_model_is_told_by_its_options_and_the_pictures_size(self) -> None:
        def reach(options: Options, size: tuple[int, int]) -> tuple[float, float]:
            return -options.size, size[1]

        told = Bringer("models", "m", Options, "os:path", target="d", reach=reach)
        loaded = with_plugins(a=told, b=Bringer("models", "n", Options, "os:path", target="d"))

        assert loaded.get("models", "m").reach(Options(size=3), (10, 20)) == (-3.0, 20.0)
        assert loaded.get("models", "n").reach(Options(), (10, 20)) is None

    def test_weights_are_a_shipped_file_or_a_path(self) -> None:
        loaded = with_plugins(a=Bringer("models", "m", Options, "os:path", target="d", weights={"tiny": "/a/b.pt"}))

        assert loaded.get("models", "m").weights_file("builtin:tiny") == Path("/a/b.pt")
        assert loaded.get("models", "m").weights_file("/x.pt") == Path("/x.pt")


class TestBuilding:
    def build(self, factory: Any) -> Any:
        return with_plugins(a=Bringer("losses", "l1", Options, factory)).get("losses", "l1").build(Options(size=7))

    def test_a_factory_may_be_a_function(self) -> None:
        assert self.build(lambda options: options.size) == 7

    def test_a_factory_may_be_named_by_a_text(self) -> None:
        assert self.build("builtins:repr") == "Options(size=7)"

    @pytest.mark.parametrize(
        ("factory", "cause"),
        [
            ("no_such_module:x", "ModuleNotFoundError"),
            ("os:no_such", "AttributeError"),
            (lambda o: 1 / 0, "ZeroDivision"),
        ],
    )
    def test_a_failure_names_plugin_and_object(self, factory: Any, cause: str) -> None:
        with pytest.raises(
            PluginError, match=rf"loss 'l1' of plugin 'a' \(a 1.0\) could not be built: {cause}"
        ) as caught:
            self.build(factory)
        assert caught.value.__cause__ is not None

    def test_an_error_that_explains_itself_passes(self) -> None:
        def factory(options: Options) -> None:
            raise WorldError("the disk is full")

        with pytest.raises(WorldError, match="the disk is full"):
            self.build(factory)


class WordlessError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class TestBrokenPlugins:
    @pytest.mark.parametrize("error", [ImportError("no cv3"), SyntaxError("oops"), SystemExit(3)])
    def test_one_that_cannot_be_imported_harms_no_other(self, error: BaseException) -> None:
        def load() -> object:
            raise error

        loaded = Plugins()
        loaded.add_installed("bad", "bad 2.0", load)
        loaded.add_installed("good", "good 1.0", lambda: Bringer("losses", "l1", Options, "os:path"))

        assert loaded.names("losses") == ["l1"]
        assert loaded.broken == [
            f"plugin 'bad' (bad 2.0) could not be loaded: it could not be imported: {type(error).__name__}: {error}"
        ]

    def test_a_keyboard_interrupt_is_not_a_broken_plugin(self) -> None:
        def load() -> object:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            Plugins().add_installed("slow", "slow 1.0", load)

    def test_one_with_wrong_arguments_leaves_nothing_behind(self) -> None:
        class Wrong:
            @hookimpl
            def engine_losses(self, registre: Any) -> None: ...

            @hookimpl
            def engine_note(self, event: events.Note) -> None:
                raise AssertionError("a plugin that was refused is still called")

        loaded = with_plugins(a=Wrong())

        assert loaded.broken == [
            "plugin 'a' (a 1.0) could not be loaded: 'engine_losses' takes 'registre'; the engine calls it with "
            "'register', by that name"
        ]
        loaded.emit(NOTE)

    @pytest.mark.parametrize(("hook", "near"), [("engine_model", "engine_models"), ("engine_modells", "engine_models")])
    def test_a_misspelt_hook_names_the_one_meant(self, hook: str, near: str) -> None:
        loaded = with_plugins(a=Bringer(hook.removeprefix("engine_"), "m", Options, "os:path"))

        assert loaded.broken == [
            f"plugin 'a' (a 1.0) could not be loaded: there is no hook {hook!r}; did you mean {near!r}?"
        ]

    def test_a_misspelt_hook_in_one_plugin_is_not_blamed_on_the_next(self) -> None:
        loaded = with_plugins(a=Bringer("model", "m", Options, "os:path"), b=Bringer("losses", "l", Options, "os:path"))

        assert len(loaded.broken) == 1
        assert loaded.names("losses") == ["l"]

    def test_a_hook_without_its_mark_is_pointed_out(self) -> None:
        class Unmarked:
            def engine_losses(self, register: Any) -> None: ...

        assert "'engine_losses' is not marked; put @hookimpl above it" in with_plugins(a=Unmarked()).broken[0]

    def test_a_hook_wrapper_is_refused(self) -> None:
        class Wrapper:
            @hookimpl(wrapper=True)
            def engine_note(self, event: events.Note) -> Any:
                return (yield)

        assert "'engine_note' is a hook wrapper" in with_plugins(a=Wrapper()).broken[0]

    def test_one_that_fails_while_registering_brings_nothing(self) -> None:
        class Half:
            @hookimpl
            def engine_losses(self, register: Any) -> None:
                register("l1", Options, "os:path")
                raise RuntimeError("half way")

        loaded = with_plugins(a=Half())

        assert loaded.names("losses") == []
        assert loaded.broken == ["plugin 'a' (a 1.0) could not be loaded: engine_losses failed: RuntimeError: half way"]


class TestInstalledPlugins:
    def test_a_broken_entry_point_is_one_line_and_the_rest_is_loaded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = importlib.metadata.entry_points(group="engine")
        bad = importlib.metadata.EntryPoint("stranger", "no_such_module.plugin", "engine")
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [bad, *real])

        loaded = plugins.load()

        assert loaded.names("gates")
        assert [line for line in loaded.broken if "stranger" in line] == [
            "plugin 'stranger' (unknown distribution) could not be loaded: it could not be imported: "
            "ModuleNotFoundError: No module named 'no_such_module'"
        ]

    def test_the_engines_own_gates_are_there(self) -> None:
        loaded = plugins.load()

        assert {"feasibility", "threshold"} <= set(loaded.names("gates"))
        assert loaded.get("gates", "threshold").plugin == "engine"

    def test_two_loads_in_one_process_find_the_same(self) -> None:
        first, second = plugins.load(), plugins.load()

        assert {kind: first.names(kind) for kind in plugins.SINGULAR} == {
            kind: second.names(kind) for kind in plugins.SINGULAR
        }

    def test_loading_imports_neither_torch_nor_what_reads_recipes(self) -> None:
        code = (
            "import sys, engine.plugins as p; p.load();"
            "sys.exit(str([name for name in ('torch', 'zarr', 'numpy', 'engine.recipe') if name in sys.modules] or ''))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

        assert done.stderr.strip() == ""


class TestPluginFiles:
    LOSS = "@hookimpl\ndef engine_losses(register):\n    register('mine', Options, Options)\n"

    def test_what_a_file_brings_is_named_by_its_path(self, tmp_path: Path) -> None:
        loaded, path = with_file(tmp_path, self.LOSS)

        assert loaded.get("losses", "mine").plugin == str(path)
        assert str(loaded.get("losses", "mine")) == f"loss 'mine' of plugin '{path}'"

    def test_its_objects_can_be_sent_to_workers(self, tmp_path: Path) -> None:
        loaded, _ = with_file(tmp_path, self.LOSS)
        options = loaded.get("losses", "mine").options(size=3)

        assert pickle.loads(pickle.dumps(options)) == options

    def test_the_same_file_gives_the_same_classes_and_a_changed_one_gives_new(self, tmp_path: Path) -> None:
        first, _ = with_file(tmp_path, self.LOSS)
        same, _ = with_file(tmp_path, self.LOSS)
        changed, _ = with_file(tmp_path, self.LOSS + "# changed\n")

        classes = [loaded.get("losses", "mine").options for loaded in (first, same, changed)]
        assert classes[0] is classes[1]
        assert classes[0] is not classes[2]

    def test_two_files_of_one_name_do_not_meet(self, tmp_path: Path) -> None:
        paths = [tmp_path / name / "mine.py" for name in ("a", "b")]
        for path in paths:
            path.parent.mkdir()
            path.write_text(HEAD + self.LOSS.replace("'mine'", repr(path.parent.name)))

        assert {"a", "b"} <= set(plugins.load(paths).names("losses"))

    def test_a_file_that_is_named_twice_is_loaded_once(self, tmp_path: Path) -> None:
        _, path = with_file(tmp_path, self.LOSS)

        assert "mine" in plugins.load([path, path]).names("losses")

    def test_a_missing_file_is_the_users_mistake(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="there is no plugin file"):
            plugins.load([tmp_path / "none.py"])

    def test_a_failure_names_the_line_in_the_file(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"NameError: name 'nothing' is not defined \(.*mine\.py:7\)"):
            with_file(tmp_path, "nothing\n")

    def test_a_module_that_failed_can_be_mended_and_loaded(self, tmp_path: Path) -> None:
        with pytest.raises(InputError):
            with_file(tmp_path, "nothing\n")

        loaded, _ = with_file(tmp_path, self.LOSS)
        assert "mine" in loaded.names("losses")
