"""Tables whose further keys are the options of something that a plugin brings, apart from all that a recipe may say.

Options models of plugins use one, `InnerData`, and every command imports those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

if TYPE_CHECKING:
    from engine.contracts import Dataset
    from engine.plugins import Plugins

Text = Annotated[str, Field(min_length=1)]


class PluginTable(BaseModel):
    """A table whose further keys are the options of a plugin's object.

    `options` is the validated instance of the plugin's options model once the recipe is loaded.
    """

    # Not frozen: the plugin's model replaces the raw options after the structure of the whole recipe is known.
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, defer_build=True)

    options: Any = Field(default_factory=dict)

    @classmethod
    def own_keys(cls) -> list[str]:
        """The keys that the engine reads itself; every other key is an option of the plugin's object."""
        return [name for name in cls.model_fields if name != "options"]

    @model_validator(mode="before")
    @classmethod
    def _split(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        own = cls.own_keys()
        return {key: data[key] for key in own if key in data} | {
            "options": {key: value for key, value in data.items() if key not in own}
        }

    @model_serializer(mode="wrap")
    def _join(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data: dict[str, Any] = handler(self)
        options: dict[str, Any] = data.pop("options")
        return data | options


class InnerData(PluginTable):
    """A data set within the options of another: an options model takes one as `of: InnerData`, or several in an array.

    Its options are checked with the recipe, each mistake where it stands.
    """

    plugin: Text

    _registry: Plugins | None = PrivateAttr(default=None)

    def __getstate__(self) -> dict[Any, Any]:
        # A data set that is sent to a worker has built what is in it, and the registry holds modules.
        return {**super().__getstate__(), "__pydantic_private__": {"_registry": None}}

    def build(self) -> Dataset:
        """The data set, of a loaded recipe."""
        assert self._registry is not None, "only a recipe from load_recipe knows its plugins"
        made: Dataset = self._registry.get("datasets", self.plugin).build(self.options)
        return made
