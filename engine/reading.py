"""Batches that say which field is missing or was not declared, and the words for a plugin's code that fails on one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from engine.errors import EngineError, InputError, PluginError, Problem, nearest
from engine.registered import guarded

ABLATED = "engine.ablated"
"""The batch field under which an ablation puts what the injection sees in place of its signal."""

FROZEN = "engine.frozen"
"""The batch field that holds the tensors of a frozen base's answer, by name; the base is then not asked."""


class MissingFieldError(EngineError, KeyError):
    """A field was read that is not there; a KeyError too, for code that tries a field and goes on without it."""

    exit_code = 2

    def __init__(self, field: str, source: str, fields: Mapping[str, Any]) -> None:
        super().__init__(field)
        self.field, self.source = field, source
        self.fields = [str(name) for name in fields if name not in (ABLATED, FROZEN)]

    def explained(self, reader: str) -> InputError:
        """The same in the user's words."""
        what = f"{reader} reads field {self.field!r}, which {self.source} does not bring"
        return InputError(
            Problem("", f"{what}; it brings {', '.join(self.fields)}", near=nearest(self.field, self.fields))
        )


class UndeclaredFieldError(EngineError):
    """A field was read that its reader does not declare. No KeyError: without it something else is computed."""

    def __init__(self, field: str) -> None:
        super().__init__(f"the field {field!r} is read, and was not kept because nobody declares that (`reads`)")
        self.field = field

    def explained(self, reader: str) -> PluginError:
        """The same with the name of who read it."""
        what = f"{reader} reads {self.field!r}, which is not among the fields that it declares (`reads`)"
        return PluginError(f"{what}, and of the frozen base's outputs and the data only what is declared was kept")


class Fields(dict[str, Any]):
    """A batch or a sample that knows where it comes from.

    left_out: fields that the data bring and that were not kept, because nobody who reads the batch declares them.
    """

    source = "the data set"
    left_out: frozenset[str] = frozenset()

    def __missing__(self, name: str) -> Any:
        self._held_to(name)
        raise MissingFieldError(str(name), self.source, self)

    def __contains__(self, name: object) -> bool:
        self._held_to(name)
        return super().__contains__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """The field, or `default` where the data do not bring it."""
        self._held_to(name)
        return super().get(name, default)

    def pop(self, name: str, *default: Any) -> Any:
        """Take the field out; `default` where the data do not bring it."""
        self._held_to(name)
        return super().pop(name, *default)

    def copy(self) -> Fields:
        """The same fields from the same source."""
        return fields_like(self, self)

    def __or__(self, others: Mapping[str, Any]) -> Fields:  # type: ignore[override]  # dict's is a plain one
        return fields_like({**self, **others}, self)

    def _held_to(self, name: object) -> None:
        if name in self.left_out:
            raise UndeclaredFieldError(str(name))

    def __reduce__(self) -> tuple[Any, ...]:
        # Saved batches are read again by torch.load(weights_only=True), which knows this class and not ours.
        return OrderedDict, (), None, None, iter(self.items())


def fields_of(values: Mapping[str, Any], source: str, left_out: frozenset[str] = frozenset()) -> Fields:
    """`values` as fields that come from `source`."""
    fields = Fields(values)
    fields.source, fields.left_out = source, left_out
    return fields


def fields_like(values: Mapping[str, Any], batch: Mapping[str, Any]) -> Fields:
    """`values` as fields that come from where `batch` does."""
    known = batch if isinstance(batch, Fields) else Fields()
    return fields_of(values, known.source, known.left_out)


class reading(guarded):  # noqa: N801  # like `guarded`
    """Run a plugin's code on a batch: a missing field becomes an InputError, whatever else it raises a PluginError."""

    def __init__(self, reader: str) -> None:
        super().__init__(f"{reader} failed")
        self._reader = reader

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, MissingFieldError | UndeclaredFieldError):
            raise error.explained(self._reader) from error
        super().__exit__(kind, error, trace)
