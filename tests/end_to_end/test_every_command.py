"""Nothing that the documentation tells people to type or to write goes unasked: commands run, recipes are checked."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import tomli
import typer
from conftest import Command
from engine_stereo.data.encodings import PRESETS, write_disparity
from engine_stereo.data.images import write_image
from pages import PAGES, ROOT, SHELL, Block, blocks, commands

from engine.cli.main import app

BLOCKS = [block for page in PAGES for block in blocks(page)]
STAND_IN = ROOT / "tests" / "engine_checkouts" / "stand_ins" / "FoundationStereo"


# --- commands --------------------------------------------------------------------------------------------------------


def test_every_command_of_the_page_on_data_runs(engine: Command, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    kitti = tmp_path / "downloads" / "kitti"
    for number in range(12):
        texture = np.kron(np.random.default_rng(number).uniform(20, 235, (16, 26)), np.ones((4, 4)))
        for part in ("testing", "training"):
            for folder, start in (("image_2", 0), ("image_3", 6)):
                path = kitti / part / folder / f"{number:06}_10.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                write_image(path, np.stack([texture[:, start : start + 96]] * 3))
        for folder in ("disp_occ_0", "disp_noc_0"):
            path = kitti / "training" / folder / f"{number:06}_10.png"
            path.parent.mkdir(exist_ok=True)
            seen = np.broadcast_to(np.arange(96) >= 6, (64, 96))
            write_disparity(path, np.full((64, 96), 6.0, dtype=np.float32), seen, PRESETS["kitti"])
    parts = [f"downloads/kitti/training/{folder}" for folder in ("image_2", "image_3", "disp_occ_0")]
    rows = [",".join([*(f"{part}/{number:06}_10.png" for part in parts), "kitti"]) for number in range(12)]
    (tmp_path / "own.csv").write_text("\n".join(["left,right,disparity,encoding", *rows]))
    half = 'plugin = "manifest", file = "../own.csv", val_share = 0.5, part'
    (tmp_path / "recipes" / "own.toml").write_text(
        f"""
        name = "own"
        model = {{ plugin = "s2m2", size = "nano", weights = "builtin:nano-opaque" }}
        data.train = {{ {half} = "train" }}
        data.val = {{ {half} = "val" }}
        train = {{ batch_size = 2, losses = [{{ name = "disparity_l1" }}] }}
        evaluate = {{ metrics = [{{ name = "epe" }}], key = ["epe/all"] }}
        [[stage]]
        name = "A"
        trainable = ["base.**"]
        steps = 1
        """
    )
    assert engine("run", "recipes/own.toml").code == 0
    (run,) = (tmp_path / "runs" / "own").iterdir()
    places = {"RECIPE": "recipes/own.toml", "RUN": str(run)}
    few = ["data.train.count=4", "data.val.count=3"]

    for words in commands("docs/data.md"):
        words = [places.get(word, word.replace("/data/kitti", "downloads/kitti")) for word in words]
        small = [part for key in few for part in ("--set", key)] if "recipes/s2m2_pol.toml" in words else []
        outcome = engine(*words, *small)
        assert outcome.code == 0, f"{words}: {outcome.err}"

    assert (tmp_path / "kitti.csv").read_text().count("\n") == 13
    assert (tmp_path / "own-train.zarr").is_dir()
    assert (tmp_path / "own-val.zarr").is_dir()
    assert len(list((tmp_path / "submission").rglob("disp_0/*.png"))) == 12


def test_every_command_of_the_page_on_editors_runs(tmp_path: Path) -> None:
    plugin = next(block.text for block in BLOCKS if block.page == "docs/plugins.md" and block.language == "python")
    (tmp_path / "my_plugin.py").write_text(plugin)
    engine = f"{shlex.quote(sys.executable)} -m engine"
    for block in blocks(ROOT / "docs" / "editors.md"):
        for line in block.lines if block.language in SHELL else []:
            told = re.sub("^engine", engine, line)
            shell = ["bash", "-c", f"{told}; exit $?"]  # which shell it is told for is asked of the process above it
            done = subprocess.run(
                shell,
                cwd=tmp_path,
                env={**os.environ, "HOME": str(tmp_path)},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{line}: {done.stderr}"
            if "schema" in line:
                assert ('"grey"' in (tmp_path / "recipe.schema.json").read_text()) == ("my_plugin.py" in line)
    assert "_ENGINE_COMPLETE" in done.stdout
    assert (tmp_path / ".bashrc").is_file()


def test_the_recipe_for_a_checkout_is_checked_as_the_page_says(engine: Command, tmp_path: Path) -> None:
    """The recipes of that page are trained in tests/engine_checkouts, on stand-ins for the authors' code."""
    clone = tmp_path / "clone"
    shutil.copytree(ROOT / "recipes", clone / "recipes")
    shutil.copytree(STAND_IN, tmp_path / "FoundationStereo")
    os.chdir(clone)
    (words, *trained) = commands("docs/foundation_stereo.md")
    done = engine(*words)
    assert done.code == 0, done.err
    assert [each[0] for each in trained] == ["run", "run", "run", "ship"]  # ship: tests/engine_checkouts
    for each in trained[:-1]:
        done = engine("check", *each[1:])
        assert done.code == 0, done.err


def test_every_command_of_the_page_on_deployment_runs(engine: Command, tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(
        f"""
        name = "small"
        [model]
        plugin = "checkout"
        preset = "foundation_stereo"
        checkout = "{STAND_IN}"
        max_disp = 64
        allow_random_backbone = true
        [data]
        train = {{ plugin = "polarized_scenes", split = "train", count = 2, height = 64, width = 96 }}
        val = {{ plugin = "polarized_scenes", split = "val", count = 2, height = 64, width = 96 }}
        [train]
        batch_size = 2
        losses = [{{ name = "sequence" }}]
        [evaluate]
        metrics = [{{ name = "epe" }}]
        key = ["epe/all"]
        [[stage]]
        name = "A"
        trainable = ["base.update_block.**"]
        steps = 1
        """
    )
    assert engine("run", "small.toml", "--set", "model.train_iters=2").code == 0
    (run,) = (tmp_path / "runs" / "small").iterdir()
    for words in commands("docs/deploy.md"):
        done = engine(*(str(run) if word == "RUN" else word for word in words))
        assert done.code == 0, f"{words}: {done.err}"
    assert (tmp_path / "network.json").is_file()


RUN = {
    "README.md": "end_to_end/test_documents.py",
    "docs/compare.md": "end_to_end/test_documents.py",
    "docs/data.md": "end_to_end/test_every_command.py",
    "docs/deploy.md": "end_to_end/test_every_command.py",
    "docs/editors.md": "end_to_end/test_every_command.py",
    "docs/examples/black_box.md": "end_to_end/test_black_box_example.py",
    "docs/examples/digits.md": "end_to_end/test_digits_example.py",
    "docs/examples/thermal.md": "end_to_end/test_thermal_example.py",
    "docs/few_labels.md": "end_to_end/test_few_labels.py",
    "docs/foundation_stereo.md": "end_to_end/test_every_command.py",
    "docs/hooks/README.md": "end_to_end/test_hooks.py",
    "docs/predict.md": "end_to_end/test_documents.py",
    "docs/scaling.md": "end_to_end/test_scaling_document.py",
    "docs/sweeps.md": "end_to_end/test_sweeps_document.py",
    "docs/stage_reuse.md": "end_to_end/test_documents.py",
    "docs/tutorial.md": "end_to_end/test_tutorial.py",
}
"""The file below tests/ with a test that types every line of a page that begins with `engine`."""

ELSEWHERE = {
    "make test": "is what runs this",
    "python docs/examples/library.py": "tests/test_library.py",
    "accelerate launch --multi_gpu --num_processes 2 -m engine run recipe.toml": "test_scaling_document.py",
    "python make_pairs.py": "test_tutorial.py",
    "pip install -e pane": "test_tutorial.py, without the package index",
    "pytest pane": "test_tutorial.py",
}
"""Lines that begin with another program, and who runs them."""

NOT_RUN = {
    "python benchmarks/few_pairs.py --results runs/few --counts 1 2 4 8 16 --write docs/few_labels.md "
    "--draw docs/pictures/few_pairs.png": "an hour; tests/benchmarks/test_few_pairs.py asks its parts",
    "make demo": "six minutes; its recipe, made small, is the first command of README",
    "make resume-peers": "installs four other trainers; tests/benchmarks runs the script",
    ".venv-peers-lightning/bin/python benchmarks/resume/peer_lightning.py --help": "the same",
    'pip install -c constraints.txt -e ".[stereo]"': "the package index; the tests' environment is made so",
    'pip install -c constraints.txt -e ".[stereo]" pytest': "the same",
    'pip install -e ".[examples]"': "the same",
    "python3 -m venv .venv": "the same",
    ". .venv/bin/activate": "the same",
    "git clone https://github.com/NVlabs/FoundationStereo ../FoundationStereo": "others' code, from the network",
    'pip install -e ".[stereo,checkouts]"': "gigabytes that no other test needs",
    "accelerate launch --multi_gpu --num_machines 2 --machine_rank 0 --num_processes 8 "
    "--main_process_ip node0 --main_process_port 29500 -m engine run recipe.toml": "two machines",
    "torchrun --nnodes 2 --nproc_per_node 4 --rdzv_backend c10d --rdzv_endpoint node0:29500 "
    "-m engine run recipe.toml": "two machines",
}
"""What no test can type here, and why. SLURM's scripts are blocks of `bash`: test_scaling_document.py reads them."""


def typed() -> list[tuple[str, str]]:
    return [(block.page, line) for block in BLOCKS if block.language in SHELL for line in block.lines]


def test_every_line_that_people_are_told_to_type_is_run_by_a_test_or_listed_with_a_reason() -> None:
    run = {line for page, line in typed() if page in RUN and line.startswith("engine ")}
    lost = [f"{page}: {line}" for page, line in typed() if line not in run | ELSEWHERE.keys() | NOT_RUN.keys()]
    assert lost == []
    assert len(run) >= 50


def test_the_lists_name_what_there_is() -> None:
    lines = {line for _, line in typed()}
    assert (ELSEWHERE.keys() | NOT_RUN.keys()) - lines == set()
    for page, test in RUN.items():
        assert Path(page).stem in (ROOT / "tests" / test).read_text()


NO_COMMANDS = {
    ("bench_startup.md", "engine che"),  # half a word, for completion
    ("engine_commands.md", "engine seeds recipe.toml --count 2"),  # the page's own example, which test_hooks.py runs
}


def test_every_command_within_a_sentence_has_the_options_that_it_is_told_with() -> None:
    group = typer.main.get_command(app)
    told = {(page.name, each) for page in PAGES for each in re.findall(r"`(engine [^`\n]+)`", page.read_text())}
    told -= NO_COMMANDS
    for page, line in sorted(told):
        command, words = group, line.split()[1:]
        while words and not words[0].startswith("-") and hasattr(command, "resolve_command"):
            _, command, words = command.resolve_command(typer.Context(command), words)
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        flags = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert flags <= known | {"--help", "--install-completion", "--show-completion"}, f"{page}: {line}"
    assert len(told) >= 20


# --- recipes ---------------------------------------------------------------------------------------------------------

NO_RECIPES = {
    'left = "left/*.png"': "a manifest: test_stereo_manifest.py reads it",
    "# pairs.toml": "a manifest: test_tutorial.py trains on it",
    "# pane.toml": "test_tutorial.py trains it, with its plugin installed",
    'name = "study"': "a whole recipe: test_sweeps_document.py searches with it",
    'name = "hooks"': "test_hooks.py trains it, with the plugins of all pages",
    "#:schema ./recipe.schema.json": "a comment for editors",
    "[[rule]]": "Taplo's settings: tests/recipe/test_json_schema.py has them",
    "[project.entry-points.engine]": "packaging: `engine new plugin` writes it, and test_new_plugin.py installs it",
}
"""First lines of blocks of TOML that are no recipes, or need what only another test has."""

HEADS = {
    "polarimetry = ": '[data.train]\nplugin = "dofp"\nroot = "/data/dofp"\n',
    "curate = ": '[data.train]\nplugin = "kitti2015"\nroot = "/data/kitti"\n',
}
"""What stands above a block that is a part of a table."""


EXAMPLES = ROOT / "docs" / "examples"
OF_ITS_OWN = {
    f"docs/examples/{name}.md": EXAMPLES / name / f"{name}.toml" for name in ("black_box", "digits", "thermal")
}
"""Pages whose blocks are parts of another recipe than the main one."""


def recipe(block: Block) -> str:
    """The block as a whole recipe: laid over the one of its page where it is a part."""
    head = next((head for start, head in HEADS.items() if block.text.startswith(start)), "")
    text = head + block.text
    under = OF_ITS_OWN.get(block.page, "recipes/s2m2_pol.toml")
    tables = tomli.loads(text).keys()
    return text if "extends" in tables or tables > {"model", "data"} else f'extends = "{under}"\n{text}'


def test_every_recipe_of_the_pages_is_good(engine: Command, tmp_path: Path) -> None:
    for folder in (
        tmp_path / "recipes",
        tmp_path,
    ):  # a page says from where it extends: the root, or beside the recipes
        shutil.copytree(ROOT / "recipes", folder, dirs_exist_ok=True)
    files = []
    for number, block in enumerate(BLOCKS):
        first = block.text.splitlines()[0] if block.text else ""
        if block.language == "toml" and first not in NO_RECIPES:
            path = tmp_path / f"{block.page.replace('/', '_')}-{number}.toml"
            path.write_text(recipe(block))
            files.append(path)
            for name in tomli.loads(block.text).get("plugins", []):  # the first code above it on its page
                code = next(each.text for each in BLOCKS if (each.page, each.language) == (block.page, "python"))
                (tmp_path / name).write_text(code)

    done = engine("check", *files)

    assert done.code == 0, done.err
    assert len(files) >= 14


def test_the_list_of_what_is_no_recipe_names_what_there_is() -> None:
    firsts = {block.text.splitlines()[0] for block in BLOCKS if block.language == "toml"}
    assert NO_RECIPES.keys() - firsts == set()
    assert all(any(block.text.startswith(start) for block in BLOCKS) for start in HEADS)
