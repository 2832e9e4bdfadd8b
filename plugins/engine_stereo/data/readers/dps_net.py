"""IPS and RPS, the polarimetric stereo sets of DPS-Net.

Tian et al., "DPS-Net: deep polarimetric stereo depth estimation", ICCV 2023. IPS is rendered from IRS, RPS is taken by
two cameras. A file of polarisation holds 10000 DoLP and 10000 AoLP; disparity counts where v_N.png is above 0.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from engine.errors import InputError, Problem
from engine_stereo.data.calibration import Calibration
from engine_stereo.data.damage import whole
from engine_stereo.data.frames import Frame, MaskFile, Polarization
from engine_stereo.data.options import FramesOptions
from engine_stereo.data.patterns import found
from engine_stereo.data.presets import Encoding
from engine_stereo.data.readers.layout import Layout, listed

_RPS_CAMERA = Calibration(focal=1192.7164, baseline=0.090886)


class IPSOptions(FramesOptions):
    """Options of `ips`."""

    root: Path = Field(description="the folder with IRS/, Render/ and Render1/")
    split_file: Path | None = Field(
        None, description="a .list file published with DPS-Net, which names the pairs; all of them without it"
    )


class RPSOptions(FramesOptions):
    """Options of `rps`."""

    root: Path = Field(description="the folder with RPS/")
    split_file: Path | None = Field(
        None, description="a .list file published with DPS-Net, which names the pairs; all of them without it"
    )


def ips(options: IPSOptions) -> list[Frame]:
    """The pairs of IRS that polarisation was rendered for; a scene is a room, in all of its lights.

    The baseline is not published. InputError as in `listed`, and for a list that is none or names other pairs.
    """
    rendered = set(found("Render/IRS/**/d_*.pfm", options.root))
    layout = Layout(
        left="IRS/**/l_*.png",
        right="IRS/**/r_*.png",
        id="IRS/**/*",
        disparity="Render/IRS/**/d_*.pfm",
        encoding=Encoding(kind="pfm"),
        masks={"valid": MaskFile(Path("Render/IRS/**/v_*.png"))},
        polarization=_polarization("Render1/IRS/**/clpL_*.png", "Render1/IRS/**/clpR_*.png"),
        keep=rendered.__contains__,
        scene=_room,
    )
    return _chosen(listed(options.root, [layout]), options.split_file)


def rps(options: RPSOptions) -> list[Frame]:
    """The real pairs; a scene is one of the six places. Errors as in `ips`."""
    layout = Layout(
        left="RPS/*/l_*.png",
        right="RPS/*/r_*.png",
        id="RPS/*/*",
        disparity="RPS/*/disp_*.pfm",
        encoding=Encoding(kind="pfm"),
        masks={"valid": MaskFile(Path("RPS/*/v_*.png"))},
        calibration=_RPS_CAMERA,
        polarization=_polarization("RPS/*/lpL_*.png", "RPS/*/lpR_*.png"),
        scene="*",
    )
    return _chosen(listed(options.root, [layout]), options.split_file)


def _polarization(left: str, right: str) -> Polarization:
    return Polarization("dolp_aolp", (Path(left),), (Path(right),))


def _room(parts: tuple[str, ...]) -> str:
    """Of Home/ArchVizInterior03Data_Dark/, with the rooms in the dark and at night: Home/ArchVizInterior03Data."""
    folder, _, name = parts[0].rstrip("/").rpartition("/")
    return f"{folder}/{name.split('_')[0]}"


def _chosen(frames: list[Frame], split_file: Path | None) -> list[Frame]:
    """The frames that the list names, in its order: lines of folder and number, such as RPS/Office1 355."""
    if split_file is None:
        return frames
    with whole("split_file", split_file):
        lines = split_file.read_text(encoding="utf-8").splitlines()
    by_id = {frame.id: frame for frame in frames}
    named = ["/".join(line.split()) for line in lines if line.strip()]
    absent = [name for name in named if name not in by_id]
    if absent or not named:
        what = (
            f"{len(absent)} of its {len(named)} pairs are not there: {', '.join(absent[:5])}"
            if named
            else "it is empty"
        )
        raise InputError(Problem(str(split_file), what, f"pairs such as {frames[0].id.replace('/', ' ')}"))
    return [by_id[name] for name in named]
