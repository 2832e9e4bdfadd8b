"""Batches that say which field is missing, and the words for a plugin's code that fails on one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from engine.errors import EngineError, InputError, Problem, nearest
from engine.plugins import guarded

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


class Fields(dict[str, Any]):
    """A batch or a sample that knows where it comes from."""

    source = "the data set"

    def __missing__(self, name: str) -> Any:
        raise MissingFieldError(str(name), self.source, self)

    def __reduce__(self) -> tuple[Any, ...]:
        # Saved batches are read again by torch.load(weights_only=True), which knows this class and not ours.
        return OrderedDict, (), None, None, iter(self.items())


def fields_of(values: Mapping[str, Any], source: str) -> Fields:
    """`values` as fields that come from `source`."""
    fields = Fields(values)
    fields.source = source
    return fields


class reading(guarded):  # noqa: N801  # like `guarded`
    """Run a plugin's code on a batch: a missing field becomes an InputError, whatever else it raises a PluginError."""

    def __init__(self, reader: str) -> None:
        super().__init__(f"{reader} failed")
        self._reader = reader

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, MissingFieldError):
            raise error.explained(self._reader) from error
        super().__exit__(kind, error, trace)
