"""Report of the diagnostic superclasses of PTB-XL, by linear probe or fine-tuning."""

from keras_ecg.databases.ptbxl import SUPERCLASSES
from keras_ecg.evaluation.titles import encoder_title
from keras_ecg.report.common import alarms, circumstances, comparison, declarations, headline, metric_card, training
from keras_ecg.report.page import Section, Span, count, definitions
from keras_ecg.report.run import Run

CLASS_NAMES = {
    "NORM": "normal ECG",
    "MI": "myocardial infarction",
    "STTC": "ST/T change",
    "CD": "conduction disturbance",
    "HYP": "hypertrophy",
}
AUROC = tuple(f"classes.{c}.auroc" for c in SUPERCLASSES)
# How the model is trained, and what is selected.
PROBED = (
    "logistic regression for each superclass on the mean token; tokens of a single-lead encoder are concatenated over "
    "the leads",
    "regularization",
)
FINE_TUNED = ("encoder and classifier together, from the pretrained weights", "the epoch")
HYBRID = "; intervals and amplitudes, scaled on folds 1 to 8, are a second input"


def size(metrics: dict) -> str:
    """How much is scored."""
    model = metrics["model"]
    return f"{count(model['recordings'])} recordings of {count(model['subjects'])} patients"


def sections(run: Run) -> list[Section]:
    """The sections of the report."""
    trained = run.config.get("finetuning", {}).get("objective") == "finetune"
    return [
        alarms(run),
        declarations(run, declared(run, FINE_TUNED[1] if trained else PROBED[1])),
        headline([metric_card(run, name) for name in ("macro_auroc", *AUROC)]),
        comparison(run, ("macro_auroc", *AUROC), ("macro_auroc",)),
        protocol(run),
        training(run.history()) if trained else Section("training", "Training history"),
        *circumstances(run),
    ]


def declared(run: Run, selected: str) -> list[tuple[str, str]]:
    """Declarations of a run on PTB-XL."""
    return [
        ("selection", f"{selected}, by macro AUROC on fold 9"),
        ("hyperparameters selected on", selected_on(run.config)),
        ("test-record statistics", "none"),
        ("test set", "fold 10, scored once; its patients are in no other fold"),
        ("external data", str(run.environment.get("external_data", ""))),
    ]


def selected_on(config: dict) -> str:
    """What the configuration says that its hyperparameters were selected on."""
    return "; ".join(config.get("evaluation", {}).get("selected_on", ()))


def scored(counts: dict) -> list[Span]:
    """Superclasses with their numbers of recordings."""
    return [Span(f"{CLASS_NAMES[c]} ({c})", f"{count(counts[c])}{',' * (c != SUPERCLASSES[-1])}") for c in SUPERCLASSES]


def protocol(run: Run) -> Section:
    """Encoder, training, folds."""
    options = run.config.get("finetuning", {})
    learning, _ = FINE_TUNED if options.get("objective") == "finetune" else PROBED
    pairs = [
        ("encoder", _encoder(run.environment.get("weights", ""))),
        ("same encoder, other seeds", ", ".join(_name(name) for name in options.get("pretrained_seeds", ()))),
        ("training", learning + HYBRID * bool(options.get("hybrid"))),
        ("training set", "PTB-XL's folds 1 to 8"),
        ("scored", scored(run.metrics["model"]["class_counts"])),
    ]
    return Section("protocol", "Evaluation protocol", [definitions(pairs)])


def _name(weights: str) -> str:
    return str(weights).replace("\\", "/").rpartition("/")[2]


def _encoder(weights: str) -> Span:
    """Name of an encoder, and where it is from."""
    return Span(encoder_title(str(weights)), f"({_name(weights)})") if weights else Span("")
