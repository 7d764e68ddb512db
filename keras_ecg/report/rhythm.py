"""Report of rhythm classification of whole recordings."""

import numpy as np

from keras_ecg.databases.cinc2017 import CLASSES
from keras_ecg.evaluation.names import at
from keras_ecg.evaluation.rhythm import BASELINES
from keras_ecg.evaluation.schema import format_value, title
from keras_ecg.evaluation.titles import row_title
from keras_ecg.predictions import read_npz
from keras_ecg.report import charts, rhythm_charts
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
    Card,
    Columns,
    Confusion,
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

CLASS_NAMES = {"N": "normal", "A": "atrial fibrillation", "O": "other rhythm", "~": "noisy"}
F1 = tuple(f"classes.{c}.f1" for c in CLASSES)
HEADLINE = ("score", *F1[:3])
PAIRED = ("score", "accuracy", *F1)
COMPARED = (*PAIRED, "ece")
DISTURBANCES = {"none": "undisturbed", "inverted": "inverted polarity", "sampling rate": "low sampling rate"}
WITHOUT_STRENGTH = ("none", "inverted")  # among the disturbances
SCORE = (
    "The challenge score is the mean F1 of N, A and O, without that of noisy recordings (~). The ECE of the model and "
    "of its variants is that after temperature scaling."
)


def size(metrics: dict) -> str:
    """How much is scored."""
    return f"{count(metrics['model']['recordings'])} recordings"


def class_label(c: str, long: bool = False) -> Span:
    """A class's letter with its colour."""
    return Span(c, CLASS_NAMES[c] if long else "", colour=rhythm_charts.COLOURS[c])


def sections(run: Run) -> list[Section]:
    """The sections of the report."""
    metrics, model = run.metrics, run.metrics["model"]
    before = f"before temperature scaling: {estimate('ece', model['ece_before']).text}"
    ece = Card("ECE", "", estimate("ece", {"mean": model["ece"]["mean"], "sd": model["ece"]["sd"]}), [before])
    extra = [(f"{run.model}, ensemble of the seeds", model["ensemble"])] if "ensemble" in model else []
    return [
        alarms(run),
        declarations(run, declared(run)),
        headline([*(metric_card(run, name, BASELINES) for name in HEADLINE), ece]),
        comparison(run, COMPARED, PAIRED, extra, SCORE, [drawn_comparison(run)]),
        protocol(run),
        classes(metrics),
        folds(metrics),
        calibration(metrics),
        confusions(run),
        robustness(metrics),
        maps(run),
        training(run.history(), ("loss", "accuracy", "score")),
        *circumstances(run),
    ]


def declared(run: Run) -> list[tuple[str, str]]:
    """Declarations of a rhythm classification run."""
    subjects = (
        "the database has no subject identifiers: each recording, or pair of identical recordings, is one subject"
    )
    return [
        ("selection", str(run.environment.get("selection", ""))),
        ("test-record statistics", "each recording is normalized by its own mean and standard deviation"),
        ("subjects", subjects),
        ("external data", str(run.environment.get("external_data", ""))),
    ]


def protocol(run: Run) -> Section:
    """Labels, split, input, temperature scaling."""
    model, rhythm = run.metrics["model"], run.config.get("rhythm", {})
    folds = len(run.metrics["folds"])
    split = f"{folds} folds, stratified by class; each recording is predicted once per seed, in its test fold"
    if folds == 1:
        split = "one fold of the cross-validation is the test set, the other folds are the training set"
    stages = {1: "one", 2: "two: a noise gate, then a second model for the rhythm of the other recordings"}
    share = rhythm.get("calibration_fraction", 0)
    pairs = [
        ("labels", [Span(str(rhythm.get("labels", "?")), tone="strong"), "of the challenge"]),
        ("recordings", count(model["recordings"])),
        ("classes", [Span(c, count(model["class_counts"][c]), colour=class_label(c).colour) for c in CLASSES]),
        ("split", split),
        (
            "input",
            f"one lead at {rhythm.get('sampling_rate_hz', 0):g} Hz, band-pass {rhythm.get('bandpass_hz', '')} Hz, "
            f"z-scored per recording; detected R peaks; trained on random crops of "
            f"{rhythm.get('crop_seconds', 0):g} s, scored on {rhythm.get('window_seconds', 0):g} s, padding masked",
        ),
        ("stages", stages.get(rhythm.get("stages"), "")),
        ("temperature scaling", f"fitted on {100 * share:g} % of the training recordings, held out for it"),
        ("seeds", ", ".join(map(str, model["seeds"]))),
        ("inference", f"{ms:g} ms for 60 s at 300 Hz" if (ms := run.environment.get("milliseconds_for_60_s")) else ""),
    ]
    return Section("protocol", "Evaluation protocol", [definitions(pairs)])


def drawn_comparison(run: Run) -> Picture:
    """The main metrics of model and baselines with their 95 % CIs, drawn."""
    model, names = run.metrics["model"], HEADLINE
    drawn = {run.model: model} | {row_title(n, f, model): f for n, f in run.metrics["baselines"].items()}
    lines = {label: {m: at(found, m) for m in names} for label, found in drawn.items()}
    picture = rhythm_charts.comparison(lines, {m: title(m) for m in names})
    return Picture(picture, ["Means over seeds with 95 % CIs."], "wide")


def classes(metrics: dict) -> Section:
    """Metrics per class."""
    labels = {c: class_label(c, long=True) for c in CLASSES}
    table = class_table(metrics["model"], labels, "recordings", CLASS_COLUMNS, "Each class against all others.")
    return Section("classes", "Metrics per class", [table])


def confusions(run: Run) -> Section:
    """Confusion matrices of whole recordings, and of their first 30 seconds."""
    seconds = run.config.get("rhythm", {}).get("window_seconds", 0)
    shown = {f"Recordings up to {seconds:.0f} s": run.metrics["model"]}
    if "first_30_seconds" in run.metrics["baselines"]:
        shown["Recordings, the first 30 s"] = run.metrics["baselines"]["first_30_seconds"]
    blocks = [
        Confusion(
            f"{name}, by true class (row) and predicted class (column), and their share of the row; means over seeds.",
            [class_label(c, long=True) for c in CLASSES],
            [class_label(c) for c in CLASSES],
            [[count(n) for n in row] for row in found["confusion"]["mean"]],
            found["confusion"]["row_share"],
        )
        for name, found in shown.items()
    ]
    return Section("confusion", "Confusion matrices", [Columns(blocks)])


def calibration(metrics: dict) -> Section:
    """Accuracy against confidence, before and after temperature scaling."""
    model = metrics["model"]
    names = {"before": ("ece_before", "Before"), "after": ("ece", "After")}
    blocks = [
        Picture(
            charts.calibration(model["calibration"][part], "recordings"),
            [f"{shown} temperature scaling: ECE {format_value(name, model[name]['mean'])}."],
        )
        for part, (name, shown) in names.items()
    ]
    note = Note("Top-label confidence in 15 bins, all seeds.")
    return Section("calibration", "Calibration", [note, Columns(blocks)])


def robustness(metrics: dict) -> Section:
    """Metrics under disturbances of increasing strength."""
    found = metrics.get("robustness")
    if not found:
        return Section("robustness", "Robustness")
    rows = found["conditions"]
    clean = next(row for row in rows if row["disturbance"] == "none")
    lines: dict[str, list] = {}
    for row in rows:
        if row["disturbance"] not in WITHOUT_STRENGTH:
            lines.setdefault(row["disturbance"], []).append((row["strength"], row["score"]))
    noises = {name: points for name, points in lines.items() if name != "sampling rate"}
    image = rhythm_charts.curves(noises, "signal-to-noise ratio, dB", clean["score"], "noise")
    pictures = [Picture(image, ["Added noise and baseline wander."])]
    rates = {name: points for name, points in lines.items() if name == "sampling rate"}
    if rates:
        image = rhythm_charts.curves(rates, "sampling rate, Hz", clean["score"], "rates")
        pictures.append(Picture(image, ["Low sampling rate: recorded at it, and resampled to the model's."]))
    cells = [
        Row(
            DISTURBANCES.get(row["disturbance"], row["disturbance"]),
            [
                "" if row["disturbance"] in WITHOUT_STRENGTH else f"{row['strength']:g}",
                *(format_value(m, row[m]) for m in HEADLINE),
                format_value(F1[3], row[F1[3]]),
                format_value("robustness.conditions.predicted.~", row["predicted.~"]),
            ],
            "lead" if row is clean else "",
        )
        for row in rows
    ]
    heads = ["disturbance", "strength", *map(head, (*HEADLINE, F1[3])), head("robustness.conditions.predicted.~")]
    note = (
        f"{count(found['recordings'])} test recordings, the first seed's model; R peaks are detected again in each "
        f"disturbed recording. Noise: {found['source']}. Grey line: the undisturbed score."
    )
    table = Table(heads, cells, "Strength: signal-to-noise ratio in dB, or sampling rate in Hz.")
    return Section("robustness", "Robustness to disturbances", [Note(note), Columns(pictures), table])


def maps(run: Run) -> Section:
    """Occlusion maps, and the deletion test."""
    found, path = run.metrics.get("deletion"), run.folder / "occlusion.npz"
    if not found or not path.is_file():
        return Section("pictures", "Occlusion maps")
    rows = []
    for row in found["shares"]:
        gap = Span("")
        if "difference" in row:
            ends = f"{signed('deletion.shares', row['low'])} to {signed('deletion.shares', row['high'])}"
            gap = Span(signed("deletion.shares", row["difference"]), below=ends)
        drops = [format_value(f"deletion.shares.{k}", row[k]) for k in ("mapped", "random")]
        rows.append(Row(format_value("deletion.shares.share", row["share"]), [*drops, gap]))
    seconds = run.config["rhythm"]["robustness"]["occlusion_seconds"]
    names = ("deletion.shares.share", "deletion.shares.mapped", "deletion.shares.random", "deletion.shares")
    caption = "Deletion test: mean drop of the predicted probability; below the difference its 95 % CI."
    blocks: list = [
        Note(
            f"Importance: drop of the predicted probability when a stretch of {seconds:g} s is removed, signal and R "
            f"peaks; {count(found['recordings'])} test recordings, the first seed's model."
        ),
        Table([head(n) for n in names], rows, caption),
        Heading("Occlusion maps"),
        Note("The darker the shading, the more the prediction depends on the stretch; triangles are detected beats."),
    ]
    stored, rate = read_npz(path), run.config["rhythm"]["sampling_rate_hz"]
    for k, place in enumerate(stored["maps_drawn"]):
        signal, importance = (row[np.isfinite(row)] for row in (stored["signal"][k], stored["importance"][k]))
        beats = stored["beats"][k][stored["beats"][k] >= 0]
        truth, guess = (CLASSES[int(stored[name][place])] for name in ("y_true", "y_pred"))
        verdict = f"labelled {truth}, classified as {guess} with probability {float(stored['base'][place]):.2f}"
        record = str(stored["record"][place])
        image = rhythm_charts.occlusion(signal, rate, beats, importance, f"Recording {record}, {verdict}", f"map{k}")
        blocks.append(Picture(image, [Span(record, tone="strong"), verdict], "wide"))
    return Section("pictures", "Occlusion maps and deletion test", blocks)


def folds(metrics: dict) -> Section:
    """A row per seed, and per test fold with mean and standard deviation."""
    seeds = [Row(f"seed {r['seed']}", [format_value(m, r[m]) for m in PAIRED]) for r in metrics["model"]["per_seed"]]
    rows = [
        Row(
            f"fold {r['fold']}",
            [count(r["recordings"]), *(format_value(m, r[m]) for m in PAIRED), _temperature(r.get("temperature"))],
        )
        for r in metrics["folds"]
    ]
    if len(rows) > 1:
        values = {m: [row[m] for row in metrics["folds"]] for m in PAIRED}
        mean = [format_value(m, float(np.mean(v))) for m, v in values.items()]
        spread = [format_value(m, float(np.std(v))) for m, v in values.items()]
        rows.append(Row("mean over folds", ["", *mean, ""], "lead"))
        rows.append(Row("standard deviation over folds", ["", *spread, ""]))
    blocks = [
        Table(["seed", *map(head, PAIRED)], seeds, "Each seed's models."),
        Heading("Test folds"),
        Table(["fold", "recordings", *map(head, PAIRED), head("temperature")], rows, "Means over seeds."),
    ]
    return Section("folds", "Seeds and folds", blocks)


def _temperature(value: float | None) -> str:
    return format_value("temperature", value)
