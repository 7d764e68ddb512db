"""The report's sections of circumstances: protocol, records, seeds and folds, training, errors, environment."""

from collections.abc import Iterator

import numpy as np

from keras_ecg.databases.mitdb import CLASSES, SPLITS
from keras_ecg.evaluation.names import at
from keras_ecg.explanations import EXPLANATIONS, SECTIONS, STATISTICS
from keras_ecg.predictions import Predictions
from keras_ecg.reports import charts
from keras_ecg.reports.page import (
    class_label,
    count,
    definitions,
    figure,
    number,
    section,
    seen_before,
    signed,
    table,
    text,
)

STATEMENTS = {
    "ds1_ds2": "DS1 → DS2 (de Chazal et al. 2004): 22 records train, 22 others test",
    "seed": "38 training records against the seven test records of the closest public work",
    "records": "training and test records named in the configuration",
}
SAME_MAN = (
    "Records 201 (training) and 202 (test) are one man. This is the split's one declared exception to the rule that no "
    "subject stands on both sides; the figures without 202 stand beside the others."
)
SELECTION = "epochs and hyperparameters on training subjects only; the scored beats are predicted once per seed"
ADAPTED = (
    "the labels of the first {:g} s of each scored record adapt the model to it; what is scored comes after them, for "
    "the baseline that is not adapted, too"
)
STATISTICS_USED = {
    "waveforms": "transductive: the median beat of the whole test record, without its labels",
    "difference_quantiles": "transductive: how far the whole test record's beats are from that one, without labels",
    "rr_features": "not causal: RR intervals before and after the beat, without labels",
    "subtract_record_median": "transductive: the median over the test record's beats is subtracted from the features",
    "transductive": "transductive: statistics of the whole test record, without its labels, enter the features",
    "causal": "causal: of a test record only what precedes the beat enters the features, without its labels",
}


def _strings(values: object, path: str = "") -> Iterator[tuple[str, str]]:
    """(dotted key, text) of every text in a nested configuration."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield from _strings(value, f"{path}.{key}".lstrip("."))
    elif isinstance(values, str):
        yield path, values


def _probes(environment: dict) -> bool:
    """Whether the run is a probe of a frozen encoder."""
    return str(environment.get("study")).startswith("probe_")


def _statistics(config: dict, environment: dict) -> list[str]:
    """What the features take from a whole test record, as the configuration and the run declare it."""
    names = {f"loader.{k}": k for k in ("waveforms", "difference_quantiles", "rr_features")}
    if _probes(environment):
        names = {"finetuning.subtract_record_median": "subtract_record_median", "finetuning.rr_features": "rr_features"}
    used = [f"{STATISTICS_USED[k]} <code>({name})</code>" for name, k in names.items() if at(config, name)]
    for key, value in (*_strings(config), *_strings(environment)):
        if value in STATISTICS_USED and key != "command":
            used.append(f"{STATISTICS_USED[value]} <code>({text(key)})</code>")
    return used


def _ensemble(config: dict) -> str:
    """How many trainings of which models make up each seed's; empty where it is one."""
    members, model = config.get("training", {}).get("ensemble_size", 1), config.get("model", {})
    if members == 1:
        return ""
    kinds = [
        ", ".join([str(m.get("name", "?")), *(f"{k} {v}" for k, v in m.get("options", {}).items())])
        for m in (model, *model.get("ensemble_members", ()))
    ]
    return text(f"each seed's model is the mean of {members} trainings, in turn of: {'; '.join(kinds)}")


def protocol(metrics: dict, config: dict, environment: dict, predictions: Predictions) -> str:
    """What was trained on what, and what the test records gave away."""
    model, evaluation = metrics["model"], config.get("evaluation", {})
    split, folds = evaluation.get("split", ""), metrics.get("folds")
    train, _ = SPLITS.get(split, (evaluation.get("train_records", ()), ()))
    train = [str(record) for record in train]
    statement, adapted = STATEMENTS.get(split, text(split)), environment.get("adapted_seconds")
    if folds:
        statement = f"{len(folds)}-fold cross-validation over subjects; every beat is predicted once, out of its fold"
        train = []
        if left_out := evaluation.get("exclude_records"):
            statement += f"; without {text(' '.join(map(str, left_out)))}"
    used = _statistics(config, environment)
    beats, sequences = config.get("beats", {}), config.get("sequences", {})
    inputs = f"lead {text(beats.get('lead', '?'))}, {text(sequences.get('length', '?'))} beats in a sequence"
    inputs += ", RR intervals" if config.get("loader", {}).get("rr_features") else ""
    normalization = f"{text(config.get('loader', {}).get('normalize', ''))}: fitted on the training records only"
    if _probes(environment):
        inputs = f"lead {text(beats.get('lead', '?'))}; tokens of {text(environment.get('weights', ''))} near the beat"
        inputs += ", RR features" if at(config, "finetuning").get("rr_features") else ""
        normalization = "features are standardized on the training records"
    skipped = environment.get("skipped_records") or []
    tested = np.unique(predictions.record).tolist()
    scored = ", ".join(f"{class_label(c)} {count(model['class_counts'][c])}" for c in CLASSES)
    pairs = [
        ("split", statement),
        ("training records", text(" ".join(train))),
        ("scored records", text(" ".join(tested))),
        ("scored", f"{count(model['beats'])} beats, {model['records']} records, {model['subjects']} subjects"),
        ("classes (AAMI)", scored),
        ("one man, two records", SAME_MAN if "201" in train and "202" in tested else ""),
        ("input", inputs),
        ("ensemble", _ensemble(config)),
        ("normalization", normalization),
        ("labels of scored records", ADAPTED.format(adapted) if adapted else ""),
        ("selection", text(environment.get("selection", SELECTION))),
        ("test-record statistics", "; ".join(used) or "the configuration declares none"),
        ("scored records seen before", seen_before(environment)),
        ("seeds", text(", ".join(map(str, model["seeds"])))),
        ("skipped records", text(", ".join(map(str, skipped))) or "none"),
    ]
    return section("protocol", "Protocol", definitions(pairs))


def records(metrics: dict, worst: int = 3) -> str:
    """Each record's own figures, and what the whole would be without it."""
    rest = {row["record"]: row for row in metrics["without_record"]}
    low = sorted(metrics["per_record"], key=lambda row: row["accuracy"])[: worst if len(rest) > worst else 0]
    named = {row["record"] for row in low}
    kinds = ("sensitivity", "positive_predictivity")
    head = ["record", "beats", *CLASSES, "accuracy", "F1 N", "F1 S", "F1 V", "F1 F"]
    head += ["SVEB Se", "SVEB +P", "VEB Se", "VEB +P"]
    rows, without = [], []
    for row in metrics["per_record"]:
        cells = [text(row["record"]), count(row["beats"])]
        cells += [count(n) if (n := row[f"class_counts.{c}"]) else "·" for c in CLASSES]
        cells += [number(row["accuracy"]), *(number(row[f"classes.{c}.f1"]) for c in "NSVF")]
        cells += [number(row[f"ec57.{t}.{k}"]) for t in ("SVEB", "VEB") for k in kinds]
        rows.append(("worst" if row["record"] in named else "", cells))
    names = ("accuracy", "macro_f1_nsvf", "macro_f1", "classes.S.f1", "classes.V.f1")
    whole = {m: at(metrics["model"], m)["mean"] for m in names}
    # The records whose absence moves the macro-F1 most stand out.
    swing = sorted(rest.values(), key=lambda row: -abs((row["macro_f1_nsvf"] or 0) - (whole["macro_f1_nsvf"] or 0)))
    moved = {row["record"] for row in swing[: worst if len(rest) > worst else 0]}
    for record, row in rest.items():
        without.append(
            ("worst" if record in moved else "", [text(record), *(_change(row[m], whole[m]) for m in names)])
        )
    note = '<p class="note">Means over seeds; the records with the lowest accuracy are tinted.</p>'
    head2 = ["without", "accuracy", "macro-F1 NSVF", "macro-F1 present", "F1 S", "F1 V"]
    lead = [("lead", ["all records", *(number(whole[m]) for m in names)])]
    note2 = '<p class="note">Figures of all other records; where one record carries a figure, it shows here.</p>'
    unfolded = " open" if len(rest) <= 25 else ""
    rows2 = f"<details{unfolded}><summary>Without each record</summary>{note2}{table(head2, lead + without)}</details>"
    return section("records", "Per record", note, table(head, rows), rows2 if without else "")


def _change(value: float | None, whole: float | None) -> str:
    if value is None or whole is None:
        return number(value)
    gap = "·" if round(value - whole, 3) == 0 else signed(value - whole)
    return f"{value:.3f} <small>{gap}</small>"


def repeats(metrics: dict) -> str:
    """One row per seed, and per fold with the spread."""
    names = ("accuracy", "macro_f1_nsvf", "macro_f1_five", *(f"classes.{c}.f1" for c in CLASSES), "kappa")
    titles = ["accuracy", "macro-F1 NSVF", "macro-F1 five", *(f"F1 {c}" for c in CLASSES), "κ"]
    seeds = [("", [f"seed {row['seed']}", *(number(row[m]) for m in names)]) for row in metrics["model"]["per_seed"]]
    out = table(["", *titles], seeds)
    if "folds" in metrics:
        rows = [
            ("", [f"fold {row['fold']}", count(row["records"]), count(row["beats"]), *(number(row[m]) for m in names)])
            for row in metrics["folds"]
        ]
        for kind, label in (("fold_mean", "mean over folds"), ("fold_sd", "sd over folds")):
            cells = [number(at(metrics["fold_spread"], m)[kind]) for m in names]
            rows.append(("lead" if kind == "fold_mean" else "", [label, "", "", *cells]))
        out += "<h3>Test folds</h3>" + table(["", "records", "beats", *titles], rows)
    return section("repeats", "Seeds and folds" if "folds" in metrics else "Seeds", out)


def training(columns: dict[str, np.ndarray], wanted: tuple[str, ...] = ()) -> str:
    """Training curves from history.csv: the wanted columns, or the first three."""
    keys = {"seed", "fold", "member", "epoch", "seconds", "learning_rate"}
    numeric = [n for n, v in columns.items() if n not in keys and v.dtype.kind == "f" and np.isfinite(v).any()]
    names = [n for n in wanted or numeric if n in numeric and not n.startswith("val_")][:3]
    if "epoch" not in columns or not names:
        return ""
    dashed = " Dashed: held-out training subjects." if any(f"val_{n}" in columns for n in names) else ""
    more = "".join(f" and {name}" for name in ("fold", "member") if name in columns)
    note = f"One line per seed{more}.{dashed}"
    return section("training", "Training", figure(charts.history(columns, names), note))


def errors(strips: dict[str, np.ndarray] | None, shown: int = 6) -> str:
    """ECG strips of the most confident errors, with truth and prediction."""
    if not strips or not len(strips["record"]):
        return ""
    rate = float(strips["sampling_rate_hz"])
    images = []
    for k in range(len(strips["record"])):
        beats, sample = strips["beats"][k], int(strips["sample"][k])
        near = beats[beats >= 0]
        middle = strips["signal"].shape[1] / 2
        nearest = int(near[np.argmin(np.abs(near - middle))]) if len(near) else int(middle)
        marked = sample - int(strips["start"][k]) if "start" in strips else nearest
        truth, guess = CLASSES[int(strips["y_true"][k])], CLASSES[int(strips["y_pred"][k])]
        minutes, seconds = divmod(sample / rate, 60)
        words = f"annotated {truth}, called {guess} with confidence {float(strips['confidence'][k]):.2f}"
        alt = f"ECG strip of record {strips['record'][k]} at {minutes:.0f} min {seconds:.1f} s: {words}"
        image = charts.strip(strips["signal"][k], rate, beats, marked, alt, f"strip{k}")
        place = f"<strong>Record {text(strips['record'][k])}</strong>, {minutes:.0f}:{seconds:04.1f}"
        caption = f'{place}: <span class="wrong">{words}</span> <span class="soft">(sample {sample:,})</span>'
        images.append(figure(image, caption, kind="strip"))
    note = (
        "25 mm/s, 10 mm/mV: a heavy square is 0.2 s and 0.5 mV. The misread beat is tinted; triangles mark the "
        "annotated beats. Confidence is that of the mean over seeds, two strips a record at most."
    )
    more = f"<details><summary>{len(images) - shown} more</summary>{''.join(images[shown:])}</details>"
    more = more if len(images) > shown else ""
    return section("errors", "The most confident errors", f'<p class="note">{note}</p>', *images[:shown], more)


def environment_section(environment: dict, config_text: str, folder: str) -> str:
    """Where and with what it was computed, and how to do it again."""
    minutes = environment.get("wall_seconds", 0) / 60
    packages = ", ".join(f"{text(k)} {text(v)}" for k, v in environment.get("packages", {}).items())
    commit = environment.get("git_commit")
    changed = " with uncommitted changes" if environment.get("git_modified") else ""
    hashes = environment.get("data_hashes")
    shown = hashes if isinstance(hashes, str) else f"{len(hashes)} files, in environment.json" if hashes else ""
    pairs = [
        ("started (UTC)", text(environment.get("started_utc", ""))),
        ("wall time", f"{minutes:.1f} min" + (f", resumed {n}×" if (n := environment.get("resumed")) else "")),
        ("processor", f"{text(environment.get('processor', ''))}, {environment.get('cores', '?')} cores"),
        ("accelerators", text(", ".join(environment.get("accelerators") or [])) or "none"),
        ("Python", text(environment.get("python", ""))),
        ("packages", packages),
        ("commit", f"<code>{text(commit)}</code>{changed}" if commit else "not from a repository"),
        ("fingerprint", f"<code>{text(environment.get('fingerprint', ''))}</code>"),
        ("data", text(shown)),
    ]
    command = f"<h3>Reproduce</h3><pre>{text(environment.get('command', ''))}</pre>"
    again = "<h3>Recompute every figure from the stored predictions</h3><pre>python -m keras_ecg.runs verify --all\n"
    again += f"python -m keras_ecg.runs report {text(folder)}</pre>"
    config = f"<details><summary>Resolved configuration</summary><pre>{text(config_text)}</pre></details>"
    return section("environment", "Environment", definitions(pairs), command, again, config)


def glossary() -> str:
    """What every figure means."""

    def rows(lines: dict[str, str]) -> list[tuple[str, list[str]]]:
        return [("", [f"<code>{text(name)}</code>", text(line)]) for name, line in lines.items()]

    figures = table(["figure", "meaning"], rows(EXPLANATIONS), kind="text")
    others = table(["part of a name", "meaning"], rows(SECTIONS | STATISTICS), kind="text")
    body = f"<details><summary>All figures of metrics.json</summary>{figures}{others}</details>"
    return section("definitions", "Definitions", body)
