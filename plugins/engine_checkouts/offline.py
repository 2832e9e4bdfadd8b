"""Nothing is downloaded while a network is built: its weights come from the recipe, its code from the checkout."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from engine.errors import WorldError
from engine_checkouts.isolation import replaced


@contextmanager
def offline(folder: Path, hubs: Mapping[str, str]) -> Iterator[None]:
    """torch.hub takes the repositories in `hubs` from folders of the checkout; timm makes networks without weights.

    timm has to be imported before, as what a preset `needs` is. Raises WorldError where something else is asked for.
    """
    import torch

    load = torch.hub.load

    def local(repository: str, model: str, *arguments: Any, **more: Any) -> Any:
        name = repository.partition(":")[0]
        if more.pop("source", "github") == "local":
            place = Path(repository)
        elif name in hubs:
            place = folder / hubs[name]
        else:
            raise WorldError(f"the checkout asks torch.hub for {name}, which would be downloaded")
        for setting in ("trust_repo", "force_reload", "skip_validation"):  # of downloads
            more.pop(setting, None)
        return load(str(place), model, *arguments, source="local", **more)

    def refused(url: str = "", *_: Any, repo_id: str = "", **__: Any) -> Any:
        asked = url or repo_id
        raise WorldError(
            f"the checkout asks for {asked}, which would be downloaded; `parts` in [model] takes it as a file"
        )

    with ExitStack() as undo:
        undo.enter_context(replaced(torch.hub, "load", local))
        undo.enter_context(replaced(torch.hub, "load_state_dict_from_url", refused))
        # what the one above calls: torchvision and others took it by its name before it was replaced
        undo.enter_context(replaced(torch.hub, "download_url_to_file", refused))
        if "timm" in sys.modules:
            create = sys.modules["timm"].create_model

            def without_weights(*arguments: Any, **more: Any) -> Any:
                return create(*arguments[:1], **{**more, "pretrained": False})

            # Under every name that timm's own modules have for them: `timm.models.resnet18` asks for weights by itself.
            downloads = ("hf_hub_download", "load_state_dict_from_url", "download_url_to_file")
            instead = {"create_model": without_weights, **dict.fromkeys(downloads, refused)}
            for module in [each for name, each in list(sys.modules.items()) if name.partition(".")[0] == "timm"]:
                for name in instead.keys() & vars(module).keys():
                    undo.enter_context(replaced(module, name, instead[name]))
        yield
