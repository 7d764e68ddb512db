"""Report of heartbeat classification: held-out, k-fold, patient-specific fine-tuning, linear probe."""

from collections.abc import Iterator

import numpy as np

from keras_ecg.databases.mitdb import CLASSES, SPLITS
from keras_ecg.evaluation import curves
from keras_ecg.evaluation.names import at
from keras_ecg.evaluation.schema import format_value, title
from keras_ecg.evaluation.titles import predictor_title
from keras_ecg.predictions import file_name, load_predictions, read_npz
from keras_ecg.report import charts
from keras_ecg.report.colours import CLASS_COLOURS
from keras_ecg.report.common import (
    CLASS_COLUMNS,
    alarms,
    circumstances,
    class_table,
    comparison,
    declarations,
    headline,
    metric_card,
    training,
)
from keras_ecg.report.page import (
    Columns,
    Confusion,
    Details,
    Heading,
    Note,
    Picture,
    Row,
    Section,
    Span,
    Table,
    count,
    definitions,
    estimate,
    head,
    signed,
)
from keras_ecg.report.run import Run

CLASS_NAMES = {"N": "normal", "S": "supraventricular", "V": "ventricular", "F": "fusion", "Q": "unclassifiable"}
F1 = tuple(f"classes.{c}.f1" for c in CLASSES)
HEADLINE = ("accuracy", "macro_f1_nsvf", "classes.S.f1", "classes.V.f1")
COMPARED = ("accuracy", "macro_f1_nsvf", "macro_f1_five", *F1)
PAIRED = ("accuracy", "macro_f1_nsvf", "macro_f1", "classes.S.f1", "classes.V.f1")
OVERALL = ("balanced_accuracy", "kappa", "jk_index", "macro_auroc", "ece")
SUBSETS = {"ensemble": "ensemble of the seeds", "without_202": "without record 202", "without_q": "without class Q"}
SPLIT_TITLES = {
    "ds1_ds2": "DS1 → DS2 (de Chazal et al. 2004): 22 training records, 22 test records",
    "seed": "38 training records, seven test records (106, 207, 208, 220, 228, 231, 233)",
    "records": "training and test records of the configuration (evaluation.train_records, evaluation.test_records)",
}
SAME_SUBJECT = (
    "Records 201 (training) and 202 (test) are of the same subject, the only exception to the inter-patient split. "
    "Metrics without record 202 are reported as well."
)
SELECTION = "epoch and hyperparameters on training subjects only; each test beat is predicted once per seed"
ADAPTED = (
    "the model is fine-tuned on the labels of the first {:g} s of each scored record; only later beats are scored, "
    "also for the unadapted baseline"
)
STATISTICS_USED = {
    "waveforms": "transductive: the median beat of the whole test record, without labels",
    "difference_quantiles": "transductive: quantiles of the differences from the median beat over the whole test "
    "record, without labels",
    "rr_features": "not causal: RR intervals before and after the beat, without labels",
    "subtract_record_median": "transductive: the median over the test record's beats is subtracted from the features",
    "transductive": "transductive: statistics of the whole test record, without labels, enter the features",
    "causal": "causal: the features are computed from the test record up to the beat, without labels",
}
WORST = 3  # records that are marked in a table


def size(metrics: dict) -> str:
    """How much is scored."""
    model = metrics["model"]
    return f"{count(model['beats'])} beats, {model['records']} records, {model['subjects']} subjects"


def class_label(name: str, long: bool = False) -> Span:
    """A class's letter with its colour."""
    return Span(name, CLASS_NAMES[name] if long else "", colour=CLASS_COLOURS[CLASSES.index(name)])


def sections(run: Run) -> list[Section]:
    """The sections of the report."""
    predictions = load_predictions(run.folder / file_name())
    strips = read_npz(run.folder / "strips.npz") if (run.folder / "strips.npz").is_file() else None
    model = run.metrics["model"]
    extra = [(f"{run.model}, {label}", model[part]) for part, label in SUBSETS.items() if part in model]
    extra += [
        (f"{predictor_title(name)}, without class Q", found["without_q"])
        for name, found in run.metrics["baselines"].items()
        if "without_q" in found
    ]
    shown = curves(predictions)
    return [
        alarms(run, cautions(run.metrics)),
        declarations(run, declared(run, predictions.record)),
        headline([metric_card(run, name) for name in HEADLINE]),
        comparison(run, COMPARED, PAIRED, extra),
        protocol(run, predictions.record),
        classes(run.metrics),
        ec57(run),
        records(run.metrics),
        folds(run.metrics),
        calibration(run.metrics),
        curve_section(run.metrics, shown),
        confusion(run.metrics),
        training(run.history()),
        errors(strips),
        *circumstances(run),
    ]


def cautions(metrics: dict) -> list[str]:
    """What limits the metrics: absent, unpredicted and rare classes, few seeds."""
    model, lines = metrics["model"], []
    absent = [c for c in CLASSES if not model["class_counts"][c]]
    never = [c for c in CLASSES if c not in absent and at(model, f"classes.{c}.positive_predictivity")["mean"] is None]
    few = {c: n for c in CLASSES if 0 < (n := model["class_counts"][c]) < 20}
    if absent:
        lines.append(f"No beat of class {', '.join(absent)} is scored: its metrics are undefined and left out.")
    if never:
        lines.append(f"Class {', '.join(never)} is never predicted.")
    if few:
        counts = ", ".join(f"{c} ({n})" for c, n in few.items())
        lines.append(f"Few beats of class {counts}: their metrics are uncertain.")
    if len(model["seeds"]) < 3:
        seeds = "One seed" if len(model["seeds"]) == 1 else "Two seeds"
        lines.append(f"{seeds}: the standard deviation over seeds is unknown or uncertain.")
    return lines


def _strings(values: object, path: str = "") -> Iterator[tuple[str, str]]:
    """(dotted key, text) of every text in a nested configuration."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield from _strings(value, f"{path}.{key}".lstrip("."))
    elif isinstance(values, str):
        yield path, values


def is_probe(environment: dict) -> bool:
    """Whether the run is a probe of a frozen encoder."""
    return str(environment.get("experiment")).startswith("probe_")


def test_statistics(config: dict, environment: dict) -> list[Span]:
    """Which statistics of whole test records enter the features, as configuration and run declare it."""
    names = {f"loader.{k}": k for k in ("waveforms", "difference_quantiles", "rr_features")}
    if is_probe(environment):
        names = {"finetuning.subtract_record_median": "subtract_record_median", "finetuning.rr_features": "rr_features"}
    used = [Span(STATISTICS_USED[k], f"({name})") for name, k in names.items() if at(config, name)]
    for key, value in (*_strings(config), *_strings(environment)):
        if value in STATISTICS_USED and key != "command":
            used.append(Span(STATISTICS_USED[value], f"({key})"))
    return used


def declared(run: Run, scored: np.ndarray) -> list[tuple[str, str | list[Span]]]:
    """Declarations of a beat classification run."""
    environment, adapted = run.environment, run.environment.get("adapted_seconds")
    used = test_statistics(run.config, environment)
    same = "201" in _training_records(run) and "202" in scored
    return [
        ("selection", str(environment.get("selection", SELECTION))),
        ("test-record statistics", [_joined(s, k, len(used)) for k, s in enumerate(used)] or "none declared"),
        ("labels of scored records", ADAPTED.format(adapted) if adapted else ""),
        ("same subject", SAME_SUBJECT if same else ""),
        ("external data", str(environment.get("external_data", ""))),
    ]


def _joined(span: Span, k: int, n: int) -> Span:
    return span if k == n - 1 else Span(span.text, f"{span.small};")


def _training_records(run: Run) -> list[str]:
    evaluation = run.config.get("evaluation", {})
    if run.metrics.get("folds"):
        return []
    records, _ = SPLITS.get(evaluation.get("split", ""), (evaluation.get("train_records", ()), ()))
    return [str(record) for record in records]


def _ensemble(config: dict) -> str:
    """How many models of which kind each seed averages; empty where it is one."""
    members, model = config.get("training", {}).get("ensemble_size", 1), config.get("model", {})
    if members == 1:
        return ""
    kinds = [
        ", ".join([str(m.get("name", "?")), *(f"{k} {v}" for k, v in m.get("options", {}).items())])
        for m in (model, *model.get("ensemble_members", ()))
    ]
    return f"each seed's model averages {members} trained models, alternating between: {'; '.join(kinds)}"


def protocol(run: Run, scored: np.ndarray) -> Section:
    """Split, records, inputs, normalization."""
    model, config, environment = run.metrics["model"], run.config, run.environment
    evaluation, beats = config.get("evaluation", {}), config.get("beats", {})
    split = SPLIT_TITLES.get(evaluation.get("split", ""), str(evaluation.get("split", "")))
    if found := run.metrics.get("folds"):
        split = f"{len(found)}-fold cross-validation over subjects; each beat is predicted once, in its test fold"
        if left_out := evaluation.get("exclude_records"):
            split += f"; without {' '.join(map(str, left_out))}"
    inputs = f"lead {beats.get('lead', '?')}, {config.get('sequences', {}).get('length', '?')} beats in a sequence"
    inputs += ", RR features" if config.get("loader", {}).get("rr_features") else ""
    normalization = f"{config.get('loader', {}).get('normalize', '')}: fitted on the training records only"
    if is_probe(environment):
        inputs = f"lead {beats.get('lead', '?')}; tokens of the encoder {environment.get('weights', '')} near the beat"
        inputs += ", RR features" if at(config, "finetuning").get("rr_features") else ""
        normalization = "features are standardized on the training records"
    pairs = [
        ("split", split),
        ("training records", " ".join(_training_records(run))),
        ("scored records", " ".join(np.unique(scored).tolist())),
        ("scored", size(run.metrics)),
        ("classes (AAMI)", [Span(c, count(model["class_counts"][c]), colour=class_label(c).colour) for c in CLASSES]),
        ("input", inputs),
        ("ensemble", _ensemble(config)),
        ("normalization", normalization),
        ("seeds", ", ".join(map(str, model["seeds"]))),
        ("skipped records", ", ".join(map(str, environment.get("skipped_records") or [])) or "none"),
    ]
    return Section("protocol", "Evaluation protocol", [definitions(pairs)])


def classes(metrics: dict) -> Section:
    """Metrics per class, and those over all classes."""
    model = metrics["model"]
    labels = {c: class_label(c, long=True) for c in CLASSES}
    columns = CLASS_COLUMNS | {"average_precision": "average precision"}
    overall = definitions((title(m), _line(estimate(m, at(model, m)))) for m in OVERALL)
    caption = "Each class against all others; mean ± standard deviation over seeds, below it the 95 % CI."
    return Section("classes", "Metrics per class", [class_table(model, labels, "beats", columns, caption), overall])


def _line(span: Span) -> Span:
    """A cell on one line."""
    return Span(span.text, " ".join(filter(None, [span.small, f"(95 % CI {span.below})" if span.below else ""])))


def ec57(run: Run) -> Section:
    """Detection of supraventricular and ventricular ectopic beats by ANSI/AAMI EC57."""
    rows = []
    for label, found, group in run.predictors():
        if group == "ablation":
            continue
        for name in ("SVEB", "VEB"):
            counts = [count(found["ec57"][name][k]) for k in ("tp", "fn", "fp", "tn")]
            rates = [f"ec57.{name}.{k}" for k in ("sensitivity", "positive_predictivity", "false_positive_rate")]
            cells = [*counts, *(estimate(n, at(found, n)) for n in rates)]
            rows.append(Row(Span(name, label), cells, "lead" if group == "model" else ""))
    heads = ["detection", *(head(f"ec57.VEB.{k}", k.upper()) for k in ("tp", "fn", "fp", "tn"))]
    shown = {"sensitivity": "Se", "positive_predictivity": "+P", "false_positive_rate": "FPR"}
    heads += [head(f"ec57.VEB.{k}", text) for k, text in shown.items()]
    caption = (
        "Gross metrics; counts are means over seeds. By EC57 an F or Q beat classified as V is not a false positive "
        "of VEB, and a Q beat classified as S is not a false positive of SVEB."
    )
    return Section("ec57", "Ectopic beats by ANSI/AAMI EC57", [Table(heads, rows, caption)])


def records(metrics: dict) -> Section:
    """Metrics of each record, and of all records but one."""
    rest = {row["record"]: row for row in metrics["without_record"]}
    low = sorted(metrics["per_record"], key=lambda row: row["accuracy"])[: WORST if len(rest) > WORST else 0]
    marked = {row["record"] for row in low}
    names = [
        "accuracy",
        *F1[:4],
        *(f"ec57.{t}.{k}" for t in ("SVEB", "VEB") for k in ("sensitivity", "positive_predictivity")),
    ]
    rows = [
        Row(
            row["record"],
            [
                count(row["beats"]),
                *(count(n) if (n := row[f"class_counts.{c}"]) else "·" for c in CLASSES),
                *(format_value(m, row[m]) for m in names),
            ],
            "marked" if row["record"] in marked else "",
        )
        for row in metrics["per_record"]
    ]
    heads = ["record", "beats", *CLASSES, *map(head, names)]
    blocks = [Table(heads, rows, "Means over seeds; the records with the lowest accuracy are marked.")]
    if rest:
        blocks.append(Details("Metrics without each record", [leave_one_out(metrics, rest)], len(rest) <= 25))
    return Section("records", "Metrics per record", blocks)


def leave_one_out(metrics: dict, rest: dict[str, dict]) -> Table:
    """Metrics of all records but one, and how much they differ from those of all."""
    whole = {m: at(metrics["model"], m)["mean"] for m in PAIRED}
    swing = sorted(rest.values(), key=lambda row: -abs((row["macro_f1_nsvf"] or 0) - (whole["macro_f1_nsvf"] or 0)))
    marked = {row["record"] for row in swing[: WORST if len(rest) > WORST else 0]}

    def change(name: str, value: float | None) -> Span:
        if value is None or whole[name] is None:
            return Span(format_value(name, value))
        gap = "·" if round(value - whole[name], 3) == 0 else signed(name, value - whole[name])
        return Span(format_value(name, value), gap)

    rows = [Row("all records", [format_value(m, whole[m]) for m in PAIRED], "lead")]
    for record, row in rest.items():
        rows.append(Row(record, [change(m, row[m]) for m in PAIRED], "marked" if record in marked else ""))
    caption = (
        "Metrics over all records but one, which show the influence of each record; the largest changes are marked."
    )
    return Table(["without", *map(head, PAIRED)], rows, caption)


def folds(metrics: dict) -> Section:
    """A row per seed, and per test fold with mean and standard deviation."""
    names = ("accuracy", "macro_f1_nsvf", "macro_f1_five", *F1, "kappa")
    rows = [Row(f"seed {r['seed']}", [format_value(m, r[m]) for m in names]) for r in metrics["model"]["per_seed"]]
    blocks: list = [Table(["seed", *map(head, names)], rows, "Each trained model.")]
    if "folds" in metrics:
        rows = [
            Row(f"fold {r['fold']}", [count(r["records"]), count(r["beats"]), *(format_value(m, r[m]) for m in names)])
            for r in metrics["folds"]
        ]
        for statistic, label in (("fold_mean", "mean over folds"), ("fold_sd", "standard deviation over folds")):
            cells = [format_value(m, at(metrics["fold_spread"], m)[statistic]) for m in names]
            rows.append(Row(label, ["", "", *cells], "lead" if statistic == "fold_mean" else ""))
        blocks += [
            Heading("Test folds"),
            Table(["fold", "records", "beats", *map(head, names)], rows, "Means over seeds."),
        ]
    return Section("folds", "Seeds and folds" if "folds" in metrics else "Seeds", blocks)


def calibration(metrics: dict) -> Section:
    """Accuracy against confidence."""
    model = metrics["model"]
    ece = f"ECE {estimate('ece', model['ece']).text}"
    picture = Picture(charts.calibration(model["calibration"]), [f"Top-label calibration, all seeds: {ece}."])
    return Section("calibration", "Calibration", [Columns([picture])])


def curve_section(metrics: dict, found: dict) -> Section:
    """ROC and precision-recall curves."""
    model = metrics["model"]
    blocks = [
        Picture(charts.roc(found, model), ["ROC curves, each class against all others."]),
        Picture(charts.precision_recall(found, model), ["Precision-recall curves, each class against all others."]),
    ]
    return Section("curves", "ROC and precision-recall curves", [Note("Means over seeds."), Columns(blocks)])


def confusion(metrics: dict) -> Section:
    """The confusion matrix."""
    found = metrics["model"]["confusion"]
    seeds = "; counts are means over seeds" if len(metrics["model"]["seeds"]) > 1 else ""
    block = Confusion(
        f"Beats by true class (row) and predicted class (column), and their share of the row{seeds}.",
        [class_label(c, long=True) for c in CLASSES],
        [class_label(c) for c in CLASSES],
        [[count(n) for n in row] for row in found["mean"]],
        found["row_share"],
    )
    return Section("confusion", "Confusion matrix", [block])


def errors(strips: dict[str, np.ndarray] | None, shown: int = 6) -> Section:
    """ECG strips of the most confident errors, with true and predicted class."""
    if not strips or not len(strips["record"]):
        return Section("errors", "Most confident errors")
    rate = float(strips["sampling_rate_hz"])
    pictures = []
    for k in range(len(strips["record"])):
        beats, sample = strips["beats"][k], int(strips["sample"][k])
        near = beats[beats >= 0]
        middle = strips["signal"].shape[1] / 2
        nearest = int(near[np.argmin(np.abs(near - middle))]) if len(near) else int(middle)
        marked = sample - int(strips["start"][k]) if "start" in strips else nearest
        truth, guess = CLASSES[int(strips["y_true"][k])], CLASSES[int(strips["y_pred"][k])]
        minutes, seconds = divmod(sample / rate, 60)
        verdict = f"annotated {truth}, classified as {guess} with confidence {float(strips['confidence'][k]):.2f}"
        alt = f"ECG strip of record {strips['record'][k]} at {minutes:.0f} min {seconds:.1f} s: {verdict}"
        image = charts.strip(strips["signal"][k], rate, beats, marked, alt, f"strip{k}")
        place = Span(f"Record {strips['record'][k]}", f"{minutes:.0f}:{seconds:04.1f}", tone="strong")
        pictures.append(Picture(image, [place, Span(verdict, f"(sample {sample:,})", tone="wrong")], "strip wide"))
    note = Note(
        "25 mm/s, 10 mm/mV: a large square is 0.2 s and 0.5 mV. The misclassified beat is shaded; triangles mark the "
        "annotated beats. Confidence is that of the ensemble; at most two strips of a record."
    )
    more = [Details(f"{len(pictures) - shown} more", pictures[shown:])] if len(pictures) > shown else []
    return Section("errors", "Most confident errors", [note, *pictures[:shown], *more])
