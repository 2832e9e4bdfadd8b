"""Fill in what one part of a recipe takes from another: [train] in every stage, folders in relative paths."""

from __future__ import annotations

import os

from engine.errors import Problem
from engine.recipe.nodes import Node, merge
from engine.recipe.schema import Train, is_weights_file
from engine.registered import BUILTIN_WEIGHTS


def expand(root: Node) -> tuple[Node, list[Problem]]:
    """`root` with each stage's `train`, `injection` and `warp` filled in and the engine's own paths absolute.

    Works on nodes, so that a wrong value in [train] is reported where it stands, once, and not in every stage.
    """
    _make_paths_absolute(root)
    array = root.child("stage")
    if array is None or not isinstance(array.value, list):
        return root, []
    problems: list[Problem] = []
    stages = [_expand_stage(root, stage, problems) for stage in array.value]
    return Node(root.value | {"stage": Node(stages, array.source, array.path)}, root.source, root.path), problems


def absolute(node: Node) -> None:
    """Make the path at `node` absolute: it is relative to the folder of the file that wrote it."""
    # os.path leaves a user that is not there as written, where pathlib raises
    node.value = os.path.normpath(node.source.base / os.path.expanduser(node.value))  # noqa: PTH111


def _expand_stage(root: Node, stage: Node, problems: list[Problem]) -> Node:
    if not isinstance(stage.value, dict):
        return stage
    own = dict(stage.value)
    mistaken = own.pop("train", None)
    if mistaken is not None:
        expected = "the keys of [train] in the stage itself"
        problems.append(Problem(mistaken.here, "unknown key 'train' in a stage", expected))

    overrides = {key: own.pop(key) for key in Train.model_fields if key in own}
    over = Node(overrides, stage.source, stage.path)
    defaults = root.child("train")
    own["train"] = merge(defaults, over) if defaults is not None else over

    has_injection = (injection := root.child("injection")) is not None and injection.is_given
    own.setdefault("injection", Node(has_injection, stage.source, stage.path))
    if own["injection"].value is True:
        # Inference has no ground truth, so the prediction is what a stage aligns by unless it says otherwise.
        own.setdefault("warp", Node("pred", stage.source, stage.path))
    return Node(own, stage.source, stage.path)


def _make_paths_absolute(root: Node) -> None:
    plugins = root.child("plugins")
    for item in plugins.value if plugins is not None and isinstance(plugins.value, list) else ():
        if isinstance(item.value, str) and item.value:
            absolute(item)
    model = root.child("model")
    if model is not None and model.text("weights") and not model.text("weights").startswith(BUILTIN_WEIGHTS):
        absolute(model.value["weights"])
    stages = root.child("stage")
    for stage in stages.value if stages is not None and isinstance(stages.value, list) else ():
        if is_weights_file(stage.text("init")):
            absolute(stage.value["init"])
