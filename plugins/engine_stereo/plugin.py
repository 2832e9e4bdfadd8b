"""What this plugin brings to the engine; nothing heavy is imported before it is built."""

from __future__ import annotations

from engine.hookspecs import Register, hookimpl
from engine_stereo import export_options, options
from engine_stereo.data.augmented import AugmentedOptions
from engine_stereo.data.building import factory
from engine_stereo.data.mirrored import MirroredOptions
from engine_stereo.data.options import ManifestOptions, PairOptions
from engine_stereo.data.readers import READERS


@hookimpl
def engine_losses(register: Register) -> None:
    """Losses on disparity, confidence and visibility."""
    register("disparity_l1", options.DisparityL1Options, "engine_stereo.losses:DisparityL1")
    register("disparity_smooth_l1", options.DisparitySmoothL1Options, "engine_stereo.losses:DisparitySmoothL1")
    register("sequence", options.SequenceOptions, "engine_stereo.sequence:Sequence")
    register("initial_disparity", options.InitialOptions, "engine_stereo.sequence:Initial")
    register("photometric", options.PhotometricOptions, "engine_stereo.photometric:Photometric")
    register("smoothness", options.SmoothnessOptions, "engine_stereo.photometric:Smoothness")
    register("disparity_edges", options.EdgeOptions, "engine_stereo.photometric:Edges")
    register("laplace", options.LaplaceOptions, "engine_stereo.uncertainty:Laplace")
    register("confidence_bce", options.ConfidenceOptions, "engine_stereo.losses:ConfidenceBCE")
    register("visibility_bce", options.VisibilityOptions, "engine_stereo.losses:VisibilityBCE")


@hookimpl
def engine_injections(register: Register) -> None:
    """How far off each pixel may be, beside any base."""
    register("uncertainty", options.UncertaintyOptions, "engine_stereo.uncertainty:Uncertainty")


@hookimpl
def engine_metrics(register: Register) -> None:
    """The disparity error by region."""
    register("epe", options.ErrorOptions, "engine_stereo.metrics:DisparityError", produces=options.error_names)


@hookimpl
def engine_exports(register: Register) -> None:
    """The submissions of three benchmarks, maps of the error, labels to train on, and all that is known of a pair."""
    register("kitti", export_options.KittiOptions, "engine_stereo.exports:Kitti")
    register("middlebury", export_options.MiddleburyOptions, "engine_stereo.exports:Middlebury")
    register("eth3d", export_options.ETH3DOptions, "engine_stereo.exports:ETH3D")
    register("error_maps", export_options.ErrorMapOptions, "engine_stereo.exports:ErrorMaps")
    register("pseudo_labels", export_options.PseudoLabelOptions, "engine_stereo.pseudo_labels:PseudoLabels")
    register("maps", export_options.MapsOptions, "engine_stereo.maps:Maps")


@hookimpl
def engine_inputs(register: Register) -> None:
    """Rectified pairs from files, with their polarisation and calibration."""
    register("disparity", PairOptions, "engine_stereo.data.pairs:pairs", exports=("maps",))


@hookimpl
def engine_datasets(register: Register) -> None:
    """A real pair with ground truth that needs no download, one's own folder, and published sets in their layout."""
    register("motorcycle", options.MotorcycleOptions, "engine_stereo.motorcycle:Motorcycle")
    register("augmented", AugmentedOptions, "engine_stereo.data.augmented:Augmented")
    register("mirrored", MirroredOptions, "engine_stereo.data.mirrored:Mirrored")
    register("manifest", ManifestOptions, "engine_stereo.data.manifest:manifest", files=(".csv", ".jsonl", ".toml"))
    for name, (reader_options, lister) in READERS.items():
        register(name, reader_options, factory(lister))


@hookimpl
def engine_pictures(register: Register) -> None:
    """A pair, its truth and what a system answered."""
    register("disparity", options.ReportPicturesOptions, "engine_stereo.report_pictures:DisparityPictures")


@hookimpl
def engine_inspections(register: Register) -> None:
    """What is usually wrong with stereo pairs, their disparity and their polarisation."""
    register("stereo", options.StereoInspectionOptions, "engine_stereo.data.inspection:StereoInspection")
