"""The report's page of a study of rhythms."""

from pathlib import Path

import numpy as np

from keras_ecg.databases.cinc2017 import CLASSES
from keras_ecg.evaluation.names import at
from keras_ecg.evaluation.rhythm import BASELINES
from keras_ecg.explanations import explain, row_title, title_of
from keras_ecg.predictions import read_npz
from keras_ecg.reports import charts, rhythm_charts
from keras_ecg.reports.details import environment_section, training
from keras_ecg.reports.page import (
    alarms,
    card,
    card_row,
    confusion_table,
    count,
    definitions,
    dotted,
    estimate,
    figure,
    figure_card,
    mean_sd,
    number,
    paired,
    section,
    seen_before,
    signed,
    table,
    text,
)

CLASS_NAMES = {"N": "normal", "A": "atrial fibrillation", "O": "other rhythm", "~": "too noisy"}
TITLES = {
    "score": "score",
    "accuracy": "accuracy",
    "classes.N.f1": "F1 N",
    "classes.A.f1": "F1 A",
    "classes.O.f1": "F1 O",
    "classes.~.f1": "F1 noisy",
    "ece": "calibration error",
}
HEADLINE = ("score", "classes.N.f1", "classes.A.f1", "classes.O.f1")
COMPARED = tuple(TITLES)
PAIRED = ("score", "accuracy", "classes.N.f1", "classes.A.f1", "classes.O.f1", "classes.~.f1")
WITHOUT_STRENGTH = ("none", "inverted")  # among the disturbances
SCORE = (
    "The score is the challenge's: the mean F1 of N, A and O. The noisy class may be called; its F1 is not averaged. "
    "Calibration errors of the model and of its variants are those after temperature scaling."
)


def tip(name: str) -> str:
    return f'<span title="{text(explain(name))}">{TITLES[name]}</span>'


def label(c: str) -> str:
    """A class's letter with its colour."""
    return dotted(rhythm_charts.COLOURS[c], c)


def subtitle(metrics: dict) -> list[str]:
    """What the header says of the size."""
    model = metrics["model"]
    plural = "s" * (len(model["seeds"]) > 1)
    return [f"{count(model['recordings'])} recordings", f"{len(model['seeds'])} seed{plural}"]


def sections(folder: Path, metrics: dict, config: dict, environment: dict, history: dict) -> list[str]:
    """The page's sections, in order."""
    name = str(environment.get("model", "model"))
    return [
        cards(metrics),
        alarms(metrics),
        protocol(metrics, config, environment),
        comparison(metrics, name),
        classes(metrics),
        confusions(metrics, config),
        calibration(metrics),
        robustness(metrics),
        maps(folder, metrics, config),
        repeats(metrics),
        training(history, ("loss", "accuracy", "score")),
        environment_section(environment, (folder / "config.yaml").read_text(encoding="utf-8"), folder.name),
    ]


def cards(metrics: dict) -> str:
    """The headline figures, each with its interval and the best baseline; the calibration error before and after."""
    model, baselines = metrics["model"], [c for k, c in metrics["baselines"].items() if k in BASELINES]
    scaled = [figure_card(tip(name), at(model, name), [at(c, name) for c in baselines]) for name in HEADLINE]
    before = f"before temperature scaling {number(model['ece_before']['mean'])}"
    return card_row([*scaled, card(tip("ece"), mean_sd(model["ece"]), "", [before])])


def protocol(metrics: dict, config: dict, environment: dict) -> str:
    """What was trained on what, and under which labels."""
    model, rhythm = metrics["model"], config.get("rhythm", {})
    counts = ", ".join(f"{label(c)} {count(model['class_counts'][c])}" for c in CLASSES)
    folds = len(metrics["folds"])
    split = (
        f"{folds} folds, stratified by class; every recording is named once per seed, by a model that has not seen it"
    )
    if folds == 1:
        split = "one fold of the cross-validation is tested, the others train"
    stages = {1: "one", 2: "two: noisy or not, then the rhythm of what is not noisy, by a model each"}
    share = rhythm.get("calibration_fraction", 0)
    pairs = [
        ("labels", f"<strong>{text(rhythm.get('labels', '?'))}</strong> of the challenge"),
        ("recordings", f"{count(model['recordings'])}: {counts}"),
        ("split", split),
        ("subjects", "no identifiers are known; the two recordings that stand in it twice are one subject each"),
        (
            "input",
            f"one lead at {rhythm.get('sampling_rate_hz', 0):g} Hz, band {text(rhythm.get('bandpass_hz', ''))}, "
            f"z-scored over the recording; beats by wfdb's XQRS; trained on random crops of "
            f"{rhythm.get('crop_seconds', 0):g} s, scored on {rhythm.get('window_seconds', 0):g} s, padding masked",
        ),
        ("stages", stages.get(rhythm.get("stages"), "")),
        ("temperature", f"set on {100 * share:g} % of the training recordings, which train nothing else"),
        ("test recordings seen before", seen_before(environment) or "none"),
        ("selection", text(environment.get("selection", ""))),
        ("seeds", text(", ".join(map(str, model["seeds"])))),
        ("60 s at 300 Hz named in", f"{taken:g} ms" if (taken := environment.get("milliseconds_for_60_s")) else ""),
    ]
    return section("protocol", "Protocol", definitions(pairs))


def comparison(metrics: dict, name: str) -> str:
    """Model, ensemble and baselines, drawn and in a table; then the paired differences."""
    model = metrics["model"]
    rows = [("lead", text(name), model)]
    rows += [("", "ensemble of the seeds", model["ensemble"])] if "ensemble" in model else []
    rows += [("", text(row_title(c, f, model)), f) for c, f in metrics["baselines"].items()]
    cells = [(kind, [shown, *(estimate(at(f, m)) for m in COMPARED)]) for kind, shown, f in rows]
    drawn = {name: model, **{title_of(c): f for c, f in metrics["baselines"].items()}}
    lines = {shown: {m: at(f, m) for m in COMPARED} for shown, f in drawn.items()}
    titles = {m: TITLES[m] for m in ("score", "classes.N.f1", "classes.A.f1", "classes.O.f1")}
    out = figure(rhythm_charts.comparison(lines, titles), "Means over seeds, 95 % intervals.")
    out += table(["", *(tip(m) for m in COMPARED)], cells, kind="tight")
    pairs = [
        (f"minus {text(title_of(baseline))}", [at(found, m) for m in PAIRED])
        for baseline, found in metrics["differences"].items()
    ]
    out += paired([tip(m) for m in PAIRED], pairs)
    lead = f"{SCORE} Mean ± standard deviation over seeds of single models; below it the 95 % interval by bootstrap."
    return section("comparison", "Against the baselines", f'<p class="note">{lead}</p>', out)


def classes(metrics: dict) -> str:
    """Figures per class."""
    model = metrics["model"]
    columns = ("sensitivity", "positive_predictivity", "f1", "auroc")
    rows = [
        (
            "",
            [f'{label(c)} <small class="soft">{CLASS_NAMES[c]}</small>', count(model["class_counts"][c])]
            + [estimate(at(model, f"classes.{c}.{m}")) for m in columns],
        )
        for c in CLASSES
    ]
    head = ["class", "recordings", "sensitivity", "positive predictivity", "F1", "AUROC"]
    return section("classes", "Per class", table(head, rows))


def confusions(metrics: dict, config: dict) -> str:
    """The confusion matrices of whole recordings and of their first half minute."""
    seconds = config.get("rhythm", {}).get("window_seconds", 0)
    shown = {f"up to {seconds:.0f} s": metrics["model"]}
    if "first_30_seconds" in metrics["baselines"]:
        shown["the first 30 s"] = metrics["baselines"]["first_30_seconds"]
    names = [label(c) for c in CLASSES]
    parts = "".join(
        f"<div><h3>Recordings, {title}</h3>{confusion_table(f['confusion'], names, names, 'truth, called')}</div>"
        for title, f in shown.items()
    )
    note = '<p class="note">Recordings, and their share of the row (the true class); means over seeds.</p>'
    return section("confusion", "Confusion matrices", note, f'<div class="columns">{parts}</div>')


def calibration(metrics: dict) -> str:
    """Accuracy against confidence, before and after temperature scaling."""
    model = metrics["model"]
    captions = {"before": ("ece_before", "Before"), "after": ("ece", "After")}
    images = "".join(
        figure(
            charts.calibration(model["calibration"][part], "recordings"),
            f"{title} temperature scaling: calibration error {number(model[name]['mean'])}.",
        )
        for part, (name, title) in captions.items()
    )
    note = '<p class="note">Confidence of the predicted class, 15 bins, all seeds.</p>'
    return section("curves", "Calibration", note, f'<div class="columns">{images}</div>')


def robustness(metrics: dict) -> str:
    """The score against how strong a disturbance is."""
    found = metrics.get("robustness")
    if not found:
        return ""
    rows = found["conditions"]
    clean = next(row for row in rows if row["disturbance"] == "none")
    lines: dict[str, list] = {}
    for row in rows:
        if row["disturbance"] not in WITHOUT_STRENGTH:
            lines.setdefault(row["disturbance"], []).append((row["strength"], row["score"]))
    noises = {name: points for name, points in lines.items() if name != "sampling rate"}
    images = [figure(rhythm_charts.curves(noises, "signal-to-noise ratio, dB", clean["score"], "noise"), "Noise.")]
    rates = {name: points for name, points in lines.items() if name == "sampling rate"}
    if rates:
        image = rhythm_charts.curves(rates, "sampling rate, Hz", clean["score"], "rates")
        images.append(figure(image, "Recorded at a lower rate, and brought back to its own."))
    names = ("score", "classes.N.f1", "classes.A.f1", "classes.O.f1", "classes.~.f1")
    cells = [
        (
            "lead" if row is clean else "",
            [
                text(row["disturbance"]),
                "" if row["disturbance"] in WITHOUT_STRENGTH else f"{row['strength']:g}",
                *(number(row[m]) for m in names),
                number(row["called.~"]),
            ],
        )
        for row in rows
    ]
    head = ["disturbance", "strength", *(TITLES[m] for m in names), "called noisy"]
    note = (
        f'<p class="note">{count(found["recordings"])} test recordings, the first seed\'s model; beats are looked for '
        f"anew in each disturbed recording. Noise: {text(found['source'])}. Faint line: the undisturbed score.</p>"
    )
    body = f'<div class="columns">{"".join(images)}</div>'
    return section("robustness", "Disturbed recordings", note, body, table(head, cells))


def maps(folder: Path, metrics: dict, config: dict) -> str:
    """Occlusion maps, and whether deleting by them hurts more than deleting at random."""
    found, path = metrics.get("deletion"), folder / "occlusion.npz"
    if not found or not path.is_file():
        return ""
    rows = []
    for row in found["shares"]:
        ends = f" <small>({signed(row['low'])} to {signed(row['high'])})</small>" if "low" in row else ""
        gap = signed(row["difference"]) if "difference" in row else ""
        rows.append(("", [f"{100 * row['share']:.0f} %", number(row["mapped"]), number(row["random"]), gap + ends]))
    seconds = config["rhythm"]["robustness"]["occlusion_seconds"]
    head = ["deleted", "most important", "at random", "difference, 95 % interval"]
    stored, rate, images = read_npz(path), config["rhythm"]["sampling_rate_hz"], []
    for k, place in enumerate(stored["maps_drawn"]):
        signal, importance = (row[np.isfinite(row)] for row in (stored["signal"][k], stored["importance"][k]))
        beats = stored["beats"][k][stored["beats"][k] >= 0]
        truth, guess = (CLASSES[int(stored[name][place])] for name in ("y_true", "y_pred"))
        words = f"labelled {truth}, called {guess} with {float(stored['base'][place]):.2f}"
        record = str(stored["record"][place])
        image = rhythm_charts.occlusion(signal, rate, beats, importance, f"Recording {record}, {words}", f"map{k}")
        images.append(figure(image, f"<strong>{text(record)}</strong>, {text(words)}"))
    note = (
        f'<p class="note">What the answer\'s probability loses when stretches of {seconds:g} s '
        f"are taken away, signal and beats: {count(found['recordings'])} test recordings, the first seed's model. In "
        "the pictures a stretch is the more tinted the more the answer depends on it; triangles are detected beats.</p>"
    )
    return section("pictures", "What the answers depend on", note, table(head, rows), *images)


def repeats(metrics: dict) -> str:
    """One row per seed, and per fold."""
    names = ("score", "accuracy", "classes.N.f1", "classes.A.f1", "classes.O.f1", "classes.~.f1")
    titles = [TITLES[m] for m in names]
    seeds = [("", [f"seed {row['seed']}", *(number(row[m]) for m in names)]) for row in metrics["model"]["per_seed"]]
    out = table(["", *titles], seeds)
    rows = [
        (
            "",
            [f"fold {r['fold']}", count(r["recordings"]), *(number(r[m]) for m in names), number(r.get("temperature"))],
        )
        for r in metrics["folds"]
    ]
    spread = {m: np.std([row[m] for row in metrics["folds"]]) for m in names}
    if len(rows) > 1:
        mean = [number(np.mean([row[m] for row in metrics["folds"]])) for m in names]
        rows.append(("lead", ["mean over folds", "", *mean, ""]))
        rows.append(("", ["sd over folds", "", *(number(spread[m]) for m in names), ""]))
    out += "<h3>Test folds</h3>" + table(["", "recordings", *titles, "temperature"], rows)
    return section("repeats", "Seeds and folds", out)
