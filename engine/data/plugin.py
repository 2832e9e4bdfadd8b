"""Registers the engine's own data sets."""

from __future__ import annotations

from engine.data.options import MixOptions, SubsetOptions, ZarrOptions
from engine.hookspecs import Register, hookimpl


@hookimpl
def engine_datasets(register: Register) -> None:
    """Bring `mix`, `subset` and `zarr`."""
    register("mix", MixOptions, "engine.data.mix:Mix")
    register("subset", SubsetOptions, "engine.data.subset:Subset")
    register("zarr", ZarrOptions, "engine.data.zarr_store:ZarrData")
