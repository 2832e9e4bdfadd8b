"""Events reach every listener; one that fails is named and keeps them from nobody."""

from __future__ import annotations

from asyncio import CancelledError
from dataclasses import is_dataclass
from pathlib import Path

import pytest
from test_plugins import NOTE, WordlessError, with_plugins

from engine import events, hookspecs, plugins
from engine.accounting import Account
from engine.errors import PluginError, WorldError
from engine.hookspecs import hookimpl
from engine.plugins import Plugins


class TestEvents:
    def test_every_event_has_a_hook_and_every_lifecycle_hook_an_event(self) -> None:
        hooks = {name for name in vars(hookspecs) if name.startswith("engine_")}
        classes = {name for name, each in vars(events).items() if is_dataclass(each)}

        assert set(plugins.HOOK_OF_EVENT) == classes
        assert set(plugins.HOOK_OF_EVENT.values()) == hooks - {
            f"engine_{kind}" for kind in (*plugins.SINGULAR, "commands")
        }

    def test_every_listener_hears_it_the_last_registered_first(self) -> None:
        heard: list[str] = []

        class Listener:
            def __init__(self, name: str) -> None:
                self.name = name

            @hookimpl
            def engine_note(self, event: events.Note) -> None:
                heard.append(f"{self.name} {event.text}")

        loaded = Plugins()
        loaded.register_object(Listener("first"), "first")
        loaded.register_object(Listener("second"), "second")
        loaded.emit(NOTE)

        assert heard == ["second hello", "first hello"]

    def test_a_listener_may_leave_the_event_out(self) -> None:
        heard: list[int] = []

        class Listener:
            @hookimpl
            def engine_note(self) -> None:
                heard.append(1)

        loaded = Plugins()
        loaded.register_object(Listener(), "listener")
        loaded.emit(NOTE)

        assert heard == [1]

    def listener(self, error: BaseException) -> Plugins:
        class Listener:
            @hookimpl
            def engine_note(self, event: events.Note) -> None:
                raise error

        return with_plugins(tracker=Listener())

    def test_a_failure_names_plugin_and_hook(self) -> None:
        with pytest.raises(
            PluginError, match="plugin 'tracker' failed in engine_note: ValueError: no server"
        ) as caught:
            self.listener(ValueError("no server")).emit(NOTE)
        assert isinstance(caught.value.__cause__, ValueError)

    @pytest.mark.parametrize(
        ("error", "words"),
        [(CancelledError("closed"), "CancelledError: closed"), (WordlessError(), "WordlessError: it cannot say why")],
    )
    def test_any_failure_is_told_even_one_that_no_exception_clause_expects(
        self, error: BaseException, words: str
    ) -> None:
        with pytest.raises(PluginError, match=f"plugin 'tracker' failed in engine_note: {words}"):
            self.listener(error).emit(NOTE)

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), WorldError("the disk is full")])
    def test_an_interrupt_and_an_explained_error_pass(self, error: BaseException) -> None:
        with pytest.raises(type(error)):
            self.listener(error).emit(NOTE)

    def test_one_that_fails_keeps_the_event_from_nobody(self) -> None:
        heard = []

        class Quiet:
            @hookimpl
            def engine_note(self, event: events.Note) -> None:
                heard.append(event)

        class Loud:
            @hookimpl
            def engine_note(self) -> None:
                raise ValueError("no server")

        loaded = with_plugins(quiet=Quiet(), first=Loud(), second=Loud())
        with pytest.raises(PluginError, match="plugin 'second' failed in engine_note"):
            loaded.emit(NOTE)
        assert heard == [NOTE]

    @pytest.mark.parametrize(
        ("share", "seconds", "warned"), [(0.06, 1000.0, True), (0.04, 1000.0, False), (0.5, 1.5, False)]
    )
    def test_one_that_takes_much_of_a_run_is_named_at_its_end(self, share: float, seconds: float, warned: bool) -> None:
        now, notes = [0.0], []

        class Slow:
            @hookimpl
            def engine_note(self) -> None:
                now[0] += 0.75 * share * seconds

            @hookimpl
            def engine_checkpoint_saved(self) -> None:
                now[0] += 0.25 * share * seconds

        class Own(Slow):
            @hookimpl
            def engine_note(self, event: events.Note) -> None:
                now[0] += seconds
                notes.append(event)

        loaded = with_plugins(slow=Slow())
        loaded.register_object(Own(), "console")
        loaded.account = Account(clock=lambda: now[0])
        loaded.emit(events.CheckpointSaved("A", 1, Path("step-1"), False))
        loaded.emit(NOTE)
        loaded.emit(events.RunFinished("done", seconds, Path("run"), [], ""))
        assert notes[0] is NOTE
        if warned:
            assert notes[1].level == "warning"
            assert notes[1].text.startswith(
                "plugin 'slow' took 60.0 s in its hooks, 6% of the run, most of it in engine_note; `engine run RECIPE"
            )
            assert notes[1].details["hooks"] == {"engine_checkpoint_saved": 15.0, "engine_note": 45.0}
        assert len(notes) == 1 + warned

    def test_a_listener_of_the_engine_is_checked_like_a_plugin(self) -> None:
        class Listener:
            @hookimpl
            def engine_nots(self, event: events.Note) -> None: ...

        loaded = Plugins()
        with pytest.raises(PluginError, match=r"plugin 'console': there is no hook 'engine_nots'; .*'engine_note'"):
            loaded.register_object(Listener(), "console")
        loaded.emit(NOTE)
