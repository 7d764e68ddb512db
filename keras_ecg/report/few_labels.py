"""Report of binary normal/abnormal beat classification from few labels."""

from keras_ecg.evaluation.schema import format_value, title
from keras_ecg.evaluation.titles import baseline_title, encoder_title
from keras_ecg.report import charts
from keras_ecg.report.common import alarms, circumstances, declarations, headline, metric_card
from keras_ecg.report.page import (
    Details,
    Heading,
    Picture,
    Row,
    Section,
    Table,
    count,
    definitions,
    difference,
    estimate,
    head,
)
from keras_ecg.report.run import Run

NAMES = ("accuracy", "macro_f1", "auroc")
PROTOCOLS = {
    "inter_patient": "inter-patient: labels from DS1 without record 201, all of DS2 scored; no subject in both sets",
    "intra_patient": "intra-patient: labels from four fifths of all beats, the others scored; the same subjects are in "
    "both sets, so that the metrics are optimistic and do not estimate the performance on new patients",
    "subsampling": "repeated random sub-sampling: subjects split into training, validation and test by seed",
}
OBJECTIVES = {
    "probe": "logistic regression on the frozen encoder; regularization by cross-validation within the given labels",
    "finetune": "fine-tuning of encoder and head, except for frozen stages",
}


def size(metrics: dict) -> str:
    """How much is scored."""
    model = metrics["model"]
    beats = f"{count(model['beats'])} beats of {model['subjects']} subjects, {count(model['abnormal'])} abnormal"
    return f"{beats}; {len(model['seeds'])} draws of labels"


def full(size: str, name: str) -> str:
    """Dotted name of a metric with a number of labels."""
    return f"labels.{size}.{name}"


def sections(run: Run) -> list[Section]:
    """The sections of the report."""
    return [
        alarms(run),
        declarations(run, declared(run)),
        cards(run),
        comparison(run),
        protocol(run),
        curves(run),
        draws(run),
        *circumstances(run),
    ]


def cards(run: Run) -> Section:
    """The metrics with most labels, each with its 95 % CI and the best baseline."""
    labels, found = list(run.metrics["model"]["labels"])[-1], []
    for name in NAMES:
        metric = full(labels, name)
        found.append(metric_card(run, metric, shown=f"{title(metric)}, {labels} labels"))
    return headline(found)


def declared(run: Run) -> list[tuple[str, str]]:
    """Declarations of a few-label run."""
    options = run.config.get("finetuning", {})
    relative = options.get("subtract_record_median") and options.get("objective") == "probe"
    selected = run.config.get("evaluation", {}).get("selected_on")
    inside = f"; features and hyperparameters selected within records {' '.join(selected)}" if selected else ""
    used = "transductive: features less the median of the test record's beats, without labels" if relative else "none"
    return [
        ("selection", f"regularization on the given labels alone{inside}"),
        ("test-record statistics", used),
        ("external data", str(run.environment.get("external_data", ""))),
    ]


def protocol(run: Run) -> Section:
    """Split, encoder, training, draw of labels, majority class."""
    options = run.config.get("finetuning", {})
    share = 1 - run.metrics["model"]["abnormal"] / run.metrics["model"]["beats"]
    pairs = [
        ("split", PROTOCOLS.get(options.get("protocol"), str(options.get("protocol", "")))),
        ("encoder", encoder_title(str(run.environment.get("weights", "")))),
        ("training", OBJECTIVES.get(options.get("objective"), "")),
        ("further inputs", "RR features of each beat" if options.get("rr_features") else "none"),
        ("draw of labels", "half of them normal, half abnormal; uniform over the beats of each class, by seed"),
        (
            "majority class",
            f"accuracy {share:.3f}, macro-F1 {share / (1 + share):.3f}: accuracy alone is uninformative",
        ),
        ("seeds", ", ".join(map(str, run.metrics["model"]["seeds"]))),
    ]
    return Section("protocol", "Evaluation protocol", [definitions(pairs)])


def comparison(run: Run) -> Section:
    """Every predictor with every number of labels, then the paired differences."""
    rows, gaps = [], []
    sizes = list(run.metrics["model"]["labels"])
    for labels in sizes:
        for name, metrics, group in run.predictors():
            if labels in metrics["labels"]:  # a baseline may have been trained with fewer numbers of labels
                cells = [estimate(full(labels, m), metrics["labels"][labels][m]) for m in NAMES]
                rows.append(Row(f"{labels} labels, {name}", cells, "lead" if group == "model" else ""))
    for baseline, by_size in run.metrics["differences"].items():
        for labels, found in by_size["labels"].items():
            cells = [difference(full(labels, m), found[m]) for m in NAMES]
            gaps.append(Row(f"{labels} labels, minus {baseline_title(baseline)}", cells))
    heads = [head(full(sizes[-1], m)) for m in NAMES]
    caption = "Mean ± standard deviation over draws of labels; below it the 95 % CI by bootstrap over subjects."
    blocks: list = [Table(["labels, predictor", *heads], rows, caption, "tight")]
    if gaps:
        caption = "Model minus baseline on the same resampled subjects, with the 95 % CI; coloured where it excludes 0."
        blocks += [Heading("Paired differences"), Table([run.model, *heads], gaps, caption)]
    return Section("comparison", "Comparison with baselines", blocks)


def curves(run: Run) -> Section:
    """Metrics by number of labels, drawn."""
    lines = {
        name.partition(": ")[2] if group == "baseline" else name: found["labels"]
        for name, found, group in run.predictors()
    }
    image = charts.by_labels(lines, {m: title(full("10", m)) for m in NAMES})
    picture = Picture(image, ["Mean over draws; bars: standard deviation."], "wide")
    return Section("curves", "Metrics by number of labels", [picture])


def draws(run: Run) -> Section:
    """A row per draw of labels."""
    model, rows = run.metrics["model"], []
    for labels, found in model["labels"].items():
        for k, seed in enumerate(model["seeds"]):
            cells = [format_value(full(labels, m), found[m]["per_seed"][k]) for m in NAMES]
            rows.append(Row(f"{labels} labels, seed {seed}", cells))
    heads = ["draw", *(head(full("10", m)) for m in NAMES)]
    return Section("folds", "Draws of labels", [Details("All draws", [Table(heads, rows, "Each draw of labels.")])])
