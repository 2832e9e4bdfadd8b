"""`make faults`: inject faults into real runs and count what was lost.

python -m faults.campaign --seed 3 --faults 250
python -m faults.campaign --seed 3 --only "kill -9 in a save:7"
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import random
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forked import Forks

from faults.disk import can_mount, private_mounts
from faults.workplace import Case, KindOfFault, LostError, MissedError, Workplace, workplace_folder

FAMILIES = ("kills", "signals", "disk", "damage", "nonfinite", "processes", "broken_plugins", "hostile", "stores")
KINDS: dict[str, tuple[KindOfFault, int]] = {
    name: kind for family in FAMILIES for name, kind in importlib.import_module(f"faults.{family}").KINDS.items()
}
JOBS = 2


@dataclass
class Injected:
    """One case: the fault's kind, its number in the kind, how many faults it holds, what was lost (if anything)."""

    kind: str
    number: int
    faults: int
    lost: str
    folder: Path


def cases(count: int, only: str) -> list[tuple[str, int]]:
    """(kind, number) of every case: each kind by its weight and at least once; or what `only` names."""
    kind, _, number = only.partition(":")
    if number:
        return [(kind, int(number))]
    total = sum(weight for _, weight in KINDS.values())
    chosen = {name: weight for name, (_, weight) in KINDS.items() if not only or name == only}
    return [(name, n) for name, weight in chosen.items() for n in range(max(1, round(count * weight / total)))]


async def inject(place: Workplace, kind: str, number: int, seed: int) -> Injected:
    """Run one case and say what was lost."""
    case = Case(place, place.root / f"{kind.replace(' ', '-')}-{number}", random.Random(f"{seed}/{kind}/{number}"))
    lost = ""
    try:
        await KINDS[kind][0](case)
    except (LostError, MissedError) as error:
        lost = str(error)
    if not lost:
        shutil.rmtree(case.folder)
    return Injected(kind, number, case.faults, lost, case.folder)


async def campaign(place: Workplace, wanted: Sequence[tuple[str, int]], seed: int) -> list[Injected]:
    """All the cases, two at a time; the order does not matter to any of them."""
    await place.prepare()
    waiting = list(wanted)
    random.Random(seed).shuffle(waiting)
    ended: list[Injected] = []

    async def job() -> None:
        while waiting:
            ended.append(await inject(place, *waiting.pop(), seed))
            if ended[-1].lost:
                tell(ended[-1], seed)

    await asyncio.gather(*(job() for _ in range(JOBS)))
    return ended


def tell(case: Injected, seed: int) -> None:
    """A failure: what was lost, where its folder is, how to repeat it."""
    print(f"LOST {case.kind}:{case.number}: {case.lost}", flush=True)
    print(f"     {case.folder} (commands in `log`)", flush=True)
    print(f"     again: make faults FAULTS='--seed {seed} --only \"{case.kind}:{case.number}\"'", flush=True)


def table(ended: Sequence[Injected]) -> str:
    """Faults injected and survived, by kind."""
    width = max(len(name) for name in KINDS)
    lines = [f"| {'fault':{width}} | injected | survived |", f"|{'-' * (width + 2)}|---------:|---------:|"]
    for name in KINDS:
        of_kind = [case for case in ended if case.kind == name]
        if of_kind:
            injected = sum(case.faults for case in of_kind)
            survived = sum(case.faults for case in of_kind if not case.lost)
            lines.append(f"| {name:{width}} | {injected:8} | {survived:8} |")
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", type=int, default=240, help="about how many faults; every kind has one at least")
    parser.add_argument("--only", default="", help="one kind of fault, or one case of it: KIND or KIND:NUMBER")
    asked = parser.parse_args()
    private_mounts()
    began = time.monotonic()
    place_root = workplace_folder()
    with Forks() as forks:
        place = Workplace(place_root, forks)
        ended = asyncio.run(campaign(place, cases(asked.faults, asked.only), asked.seed))
    lost = sum(case.faults for case in ended if case.lost)
    passed = sum(case.faults for case in ended if not case.lost)
    print(table(ended))
    kills = len(place.saves)
    print(f"\n{sum(place.saves)} of {kills} killed processes died in the middle of a save")
    print(f"the full disk was {'a small tmpfs' if can_mount() else 'a limit on the size of a file'}")
    print(f"seed {asked.seed}, {time.monotonic() - began:.0f} s")
    print(f"{passed} passed, {lost} failed")
    if not lost:
        shutil.rmtree(place_root)
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
