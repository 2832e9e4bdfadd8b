"""The kit for plugin authors: what keeps every promise passes, and what breaks one is told which, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_world import PLUGIN, batch, system

from engine import testing
from engine.prediction import Prediction

BROKEN = Path(__file__).with_name("things_that_break_promises.py")
TENSORS = {name: value for name, value in batch().items() if isinstance(value, torch.Tensor)}


VALID = TENSORS["valid"] & (torch.arange(TENSORS["valid"].shape[-1]) > 2)
HALF_KNOWN = {**TENSORS, "valid": VALID, "target": TENSORS["target"].where(VALID, torch.nan)}


def of_image(fields: Mapping[str, Any]) -> Prediction:
    """What a base answers that reads more of the batch than the injection does."""
    return Prediction(0.5 * fields["image"], confidence=torch.ones_like(fields["image"]))


def checks(kind: str, name: str, options: Mapping[str, Any] | None = None, file: Path = BROKEN) -> list[testing.Check]:
    more: dict[str, Any] = {
        "model": {"batch": TENSORS},
        "injection": {"batch": TENSORS, "target": "target"},
        "loss": {"batch": TENSORS, "target": "target"},
        "metric": {"batch": TENSORS, "target": "target"},
        "gate": {"means": {"error": 0.4}},
        "dataset": {"fields": ("image", "signal")},
        "tracker": {},
    }[kind]
    made: list[testing.Check] = getattr(testing, kind)(name, options, files=[file], **more)
    return made


GOOD = [
    *checks("model", "toy", {"norm": True, "dropout": 0.5}, PLUGIN),
    *checks("injection", "toy", None, PLUGIN),
    *checks("dataset", "toy", None, PLUGIN),
    *checks("dataset", "augmented", {"of": {"plugin": "toy"}}, PLUGIN),
    *checks("dataset", "mix", {"sets": [{"plugin": "toy", "probability": 1.0}]}, PLUGIN),
    *checks("loss", "square", None, PLUGIN),
    *checks("metric", "error", None, PLUGIN),
    *checks("gate", "threshold", {"metric": "error", "max": 1.0}),
    *checks("gate", "GateWithAnUnknownFigure"),
    *testing.loss("OfWhatIsValid", batch=HALF_KNOWN, target="target", files=[BROKEN]),
    *testing.metric("WithNothingToMeasure", batch=HALF_KNOWN, target="target", files=[BROKEN]),
    *testing.injection("ReadingWhatItDeclares", batch=TENSORS, target="target", base=of_image, files=[BROKEN]),
]


@pytest.mark.parametrize("check", GOOD, ids=str)
def test_what_keeps_its_promises_passes(check: testing.Check) -> None:
    check()


BROKEN_PROMISES = [
    ("injection", "NotAtZero", "a_fresh_one_corrects_nothing", "initialise its last layer with zeros"),
    ("injection", "WithoutBound", "no_correction_exceeds_the_bound", "its bound is 1, and with large weights it corr"),
    ("injection", "MovingTheBase", "no_correction_exceeds_the_bound", "it changes the base's own answer, past the"),
    ("injection", "WithUnusedLayer", "gradients_reach_all_that", "2 parameters have no part in what it answers: inje"),
    ("injection", "WithNumbersForAMask", "it_says_where_it_can_correct", "gives torch.float32 of shape (2, 1, 6, 6); "),
    ("injection", "WithASignalThatIsNotThere", "it_says_what_it_is", "its signal is ('sginal',); names of fields; the"),
    ("injection", "InBfloat16", "the_number_behind_the", "under autocast its raw is torch.bfloat16"),
    ("injection", "WithAMemory", "its_state_makes_the_same_module", "with its state loaded into another it answers d"),
    ("model", "WithAMemoryOfItsOwn", "its_state_makes_the_same_module", "keep what it learns in parameters and buffer"),
    ("model", "WithoutSeed", "the_same_seed_gives", "two modules of one seed differ in (base.head.bias); draw from to"),
    ("model", "WithChanceInEvaluation", "the_same_seed_gives", "two modules of one seed answer differently"),
    ("model", "InTrainingMode", "frozen_it_stays_as_it_is", "it is frozen, and head trains; leave `train`, `eval`"),
    ("model", "OfAnotherShape", "its_answer_has_the_targets", "answered with a value of shape (2, 1, 6, 5); expected"),
    ("model", "InDoublePrecision", "its_answer_has_the_targets", "its value is torch.float64; answer in float32"),
    ("model", "WithConfidenceBeforeItsSigmoid", "its_confidence_and", "a probability in [0, 1], not the number before"),
    ("model", "WritingToItsBatch", "it_leaves_its_batch_alone", "it writes to the batch: image"),
    ("model", "NotFiniteInBfloat16", "it_works_in_bf16", "under bf16 autocast value, "),
    ("loss", "GivingOneNumberASample", "it_is_one_finite_number", "it gives (2,); a scalar, ()"),
    ("loss", "Detached", "its_gradient_reaches_the_prediction", "it has no gradient"),
    ("loss", "WithoutGuardAgainstNothing", "without_a_valid_pixel", "it is nan, or its gradient is not finite, where"),
    ("loss", "WritingToTheTruth", "it_judges_the_same_twice_and_changes", "it writes to target; work on a copy"),
    ("loss", "DrawingALoss", "it_judges_the_same_twice_and_changes", "for the same prediction; draw nothing, remember"),
    ("loss", "RememberingALoss", "it_judges_the_same_twice_and_changes", "for the same prediction; draw nothing, rem"),
    ("loss", "Lenient", "its_options_are_checked", "so a misspelt option would have no effect"),
    ("loss", "Undocumented", "its_options_document_themselves", "sharpness of Undocumented is not described; Field("),
    ("loss", "Undocumentd", "it_is_registered", "no plugin brings the loss 'Undocumentd'. Did you mean 'Undocumented'"),
    ("metric", "MeasuringTheBatch", "a_sample_counts_the_same_alone", "measure each sample by itself"),
    (
        "metric",
        "ForTheWholeBatch",
        "it_gives_a_sum_and_a_count",
        "it returned (a tensor of shape (), a tensor of shape ()) for 'error'; expected {name: (sum, count)}",
    ),
    ("metric", "DrawingAMetric", "it_measures_the_same_twice", "error differs for the same prediction; draw nothing"),
    ("metric", "SummingUp", "it_measures_the_same_twice", "error differs for the same prediction; draw nothing, rem"),
    ("metric", "WritingToWhatItMeasures", "it_changes_nothing", "it writes to target, value; work on a copy"),
    ("metric", "Misannounced", "it_yields_the_figures", "`produces` announces ['eror'], and it yields ['error']"),
    ("dataset", "WithoutId", "it_has_samples_of_named_arrays", "sample 0 brings no id; it brings image, signal"),
    ("dataset", "WithLists", "it_has_samples_of_named_arrays", "the field 'signal' is a list; an array, float32 or b"),
    ("dataset", "InFloat64", "it_has_samples_of_named_arrays", "the field 'image' is float64 of shape (1, 8, 8); floa"),
    ("dataset", "NamingEachSceneOnce", "its_scenes_are_one_a_sample", "`scenes` gives 2 names for 24 samples; the sce"),
    ("dataset", "DrawingFromElsewhere", "evaluation_is_fixed", "sample 0 without `rng` differs the second time: image"),
    ("dataset", "DrawingFromElsewhere", "chance_comes_from_rng_alone", "the same sample with the same `rng` differs"),
    ("dataset", "CountingItsCalls", "chance_comes_from_rng_alone", "draw from `rng` and from nothing else, and keep n"),
    ("dataset", "LendingItsSamples", "a_sample_belongs_to_its_reader", "a sample that its reader writes to is read ch"),
    ("dataset", "HoldingALambda", "workers_read_the_same", "it cannot be pickled for a worker"),
    ("dataset", "OfManySizes", "samples_make_batches", "its samples make no batch"),
    ("gate", "SilentGate", "it_gives_a_verdict_with_its_reason", "it gives no reason; a sentence with the figures"),
    ("gate", "GateThatMaybes", "it_gives_a_verdict_with_its_reason", "its status is 'maybe'; one of pass, warn, fail"),
    ("gate", "GateWithATensor", "its_figures_can_be_written_down", "its figures cannot be kept with the run"),
    ("gate", "GateByChance", "it_decides_the_same_twice", "it says 'pass' (it drew"),
    ("gate", "GateByTorchsChance", "it_decides_the_same_twice", "it says 'pass' (it drew"),
    ("gate", "GateThatCounts", "it_decides_the_same_twice", "it says 'pass' (asked 1 times) and then 'pass' (asked 2"),
    ("tracker", "NamelessTracker", "it_says_whom_it_tells", "its attribute 'where' is ''; a text that warnings"),
    ("tracker", "TrackerThatBeginsAnew", "it_takes_a_run_that_is_resumed", "it does not take a run: tracker 'TrackerT"),
    ("tracker", "TrackerForFiniteNumbers", "it_takes_a_whole_run", "cannot convert float NaN to integer"),
]


@pytest.mark.parametrize(("kind", "name", "promise", "words"), BROKEN_PROMISES, ids=lambda each: str(each)[:30])
def test_a_broken_promise_is_told_with_what_to_do(kind: str, name: str, promise: str, words: str) -> None:
    (check,) = [each for each in checks(kind, name) if each.name.startswith(promise)]
    with pytest.raises(AssertionError) as told:
        check()
    assert str(told.value).startswith(f"{'data set' if kind == 'dataset' else kind} {name!r}: ")
    assert words in str(told.value)


MORE = {
    "injection": {"batch": HALF_KNOWN, "target": "target", "base": of_image},
    "model": {"batch": HALF_KNOWN},
    "gate": {"system": system()},
}


@pytest.mark.parametrize(
    ("kind", "name", "promise", "words"),
    [
        ("injection", "CorrectableEverywhere", "it_says_where_it_can", "`correctable` names places that are not valid"),
        ("injection", "ReadingMoreThanItDeclares", "it_reads_what", "reads 'base.confidence', which is not among the"),
        ("model", "WritingWhereNothingIsKnown", "it_leaves_its_batch_alone", "it writes to the batch: target"),
        ("gate", "GateThatChangesTheSystem", "it_changes_nothing", "it writes to base.encoder.0.weight, base.encoder."),
    ],
)
def test_a_promise_that_only_some_batches_show_is_told_too(kind: str, name: str, promise: str, words: str) -> None:
    made = getattr(testing, kind)(name, files=[BROKEN], **MORE[kind])
    (check,) = [each for each in made if each.name.startswith(promise)]
    with pytest.raises(AssertionError) as told:
        check()
    assert words in str(told.value)


def test_options_of_the_test_that_do_not_fit_are_told() -> None:
    registered = checks("injection", "toy", {"bound": "high"}, PLUGIN)[0]
    with pytest.raises(AssertionError, match=r"the options .* are refused: bound: Input should be a valid number"):
        registered()


def test_options_of_a_data_set_within_the_options_are_checked_too() -> None:
    for inner, words in (({"plugin": "toy", "coutn": 3}, "coutn"), ({"plugin": "tyo"}, "did you mean 'toy'")):
        registered = checks("dataset", "augmented", {"of": inner}, PLUGIN)[0]
        with pytest.raises(AssertionError, match=f"(?i)the options .* are refused: .*{words}"):
            registered()


def test_a_base_that_writes_to_its_buffers_where_it_is_frozen_is_told() -> None:
    (check,) = [
        each
        for each in checks("model", "toy", {"writes_when_frozen": True}, PLUGIN)
        if each.name == "frozen_it_stays_as_it_is"
    ]
    with pytest.raises(AssertionError, match=r"1 frozen tensors changed while it trained: base\.calls"):
        check()


def test_a_file_that_cannot_be_loaded_fails_the_test_and_not_its_collection(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("import no_such_module\n")
    first, *_ = testing.loss("mine", batch=TENSORS, target="target", files=[broken])
    with pytest.raises(AssertionError, match="No module named 'no_such_module'"):
        first()
