"""The report's sections of results: headline, baselines, classes, confusion, curves."""

from keras_ecg.databases.mitdb import CLASSES
from keras_ecg.evaluation.names import at
from keras_ecg.explanations import explain, title_of
from keras_ecg.reports import charts
from keras_ecg.reports.page import (
    card_row,
    class_label,
    confusion_table,
    count,
    definitions,
    estimate,
    figure,
    figure_card,
    paired,
    section,
    table,
    text,
)

CLASS_NAMES = {"N": "normal", "S": "supraventricular", "V": "ventricular", "F": "fusion", "Q": "unclassifiable"}
TITLES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1_nsvf": "macro-F1 NSVF",
    "macro_f1_five": "macro-F1 five",
    "macro_f1": "macro-F1 present",
    "kappa": "Cohen's κ",
    "jk_index": "jκ index",
    "macro_auroc": "macro AUROC",
    "ece": "calibration error",
    "classes.N.f1": "F1 N",
    "classes.S.f1": "F1 S",
    "classes.V.f1": "F1 V",
    "classes.F.f1": "F1 F",
    "classes.Q.f1": "F1 Q",
}
HEADLINE = ("accuracy", "macro_f1_nsvf", "classes.S.f1", "classes.V.f1")
COMPARED = ("accuracy", "macro_f1_nsvf", "macro_f1_five", *(f"classes.{c}.f1" for c in CLASSES))
PAIRED = ("accuracy", "macro_f1_nsvf", "macro_f1", "classes.S.f1", "classes.V.f1")


def tip(name: str) -> str:
    """A heading that explains itself when pointed at."""
    return f'<span title="{text(explain(name))}">{TITLES[name]}</span>'


def warnings(metrics: dict, environment: dict) -> list[str]:
    """What a reader must know before believing a figure, as HTML lines."""
    model, lines = metrics["model"], []
    if model["collapse"]["collapsed"]:
        share = f"{100 * model['collapse']['largest_share']:.1f} %"
        lines.append(
            f"<strong>The predictor has collapsed:</strong> one class takes {share} of the beats in some seed."
        )
    absent = [c for c in CLASSES if not model["class_counts"][c]]
    never = [c for c in CLASSES if c not in absent and at(model, f"classes.{c}.positive_predictivity")["mean"] is None]
    few = {c: n for c in CLASSES if 0 < (n := model["class_counts"][c]) < 20}
    if absent:
        lines.append(f"No beat of class {', '.join(absent)} is scored: its figures are undefined and left out.")
    if never:
        lines.append(f"Class {', '.join(never)} is never predicted.")
    if few:
        lines.append(
            f"Few beats of class {', '.join(f'{c} ({n})' for c, n in few.items())}: read those figures with care."
        )
    for baseline, differences in metrics["differences"].items():
        low = [TITLES[m] for m in PAIRED[:2] if (d := at(differences, m)) and not (d["excludes_zero"] and d["low"] > 0)]
        if low:
            lines.append(
                f"Not demonstrably above the baseline <em>{text(title_of(baseline))}</em> in {', '.join(low)}."
            )
    if len(model["seeds"]) < 3:
        lines.append(f"{len(model['seeds'])} seed(s): the spread over seeds is unknown or poorly known.")
    if skipped := environment.get("skipped_records"):
        lines.append(f"Skipped as unreadable: {text(', '.join(map(str, skipped)))}.")
    return lines


def cards(metrics: dict) -> str:
    """The headline figures, each with its interval and the best baseline."""
    return card_row(
        figure_card(tip(name), at(metrics["model"], name), [at(c, name) for c in metrics["baselines"].values()])
        for name in HEADLINE
    )


def comparison(metrics: dict, name: str) -> str:
    """Model, ensemble and baselines in one table; then the paired differences."""
    model = metrics["model"]
    parts = {"ensemble": "ensemble of the seeds", "without_202": "without record 202", "without_q": "without class Q"}
    rows = [("lead", text(name), model)]
    rows += [("", label, model[part]) for part, label in parts.items() if part in model]
    for k, (baseline, figures) in enumerate(metrics["baselines"].items()):
        rows.append(("group" if not k else "", f"baseline: {text(title_of(baseline))}", figures))
        if "without_q" in figures:
            rows.append(("", f"baseline: {text(title_of(baseline))}, without class Q", figures["without_q"]))
    cells = [(kind, [label, *(estimate(at(figures, m)) for m in COMPARED)]) for kind, label, figures in rows]
    out = table(["", *(tip(m) for m in COMPARED)], cells, kind="tight")
    differences = [
        (f"minus {text(title_of(baseline))}", [at(figures, m) for m in PAIRED])
        for baseline, figures in metrics["differences"].items()
    ]
    out += paired([tip(m) for m in PAIRED], differences)
    resamples = f"{metrics['bootstrap']['resamples']:,}"
    lead = (
        "Mean ± standard deviation over seeds of single models; below it the 95 % interval by bootstrap over subjects "
        f"({resamples} resamples)."
    )
    return section("comparison", "Against the baselines", f'<p class="note">{lead}</p>', out)


def classes(metrics: dict) -> str:
    """Figures per class, and the EC57 tables."""
    model = metrics["model"]
    columns = ("sensitivity", "positive_predictivity", "f1", "auroc", "average_precision")
    head = ["class", "beats", "sensitivity", "positive predictivity", "F1", "AUROC", "average precision"]
    rows = [
        (
            "",
            [f'{class_label(c)} <small class="soft">{CLASS_NAMES[c]}</small>', count(model["class_counts"][c])]
            + [estimate(at(model, f"classes.{c}.{m}")) for m in columns],
        )
        for c in CLASSES
    ]
    ec57 = []
    for label, figures in {"model": model, **{title_of(c): f for c, f in metrics["baselines"].items()}}.items():
        for name in ("SVEB", "VEB"):
            t = figures["ec57"][name]
            cells = [f"{name} <small>{text(label)}</small>", *(count(t[k]) for k in ("tp", "fn", "fp", "tn"))]
            rates = [estimate(t[k]) for k in ("sensitivity", "positive_predictivity", "false_positive_rate")]
            ec57.append(("lead" if label == "model" else "", cells + rates))
    head57 = ["detection", "TP", "FN", "FP", "TN", "Se", "+P", "FPR"]
    note = (
        '<p class="note">Gross figures. As EC57 asks, a fusion (F) or unclassifiable (Q) beat called V is no false '
        "VEB, and an unclassifiable beat called S no false SVEB. Counts are means over seeds.</p>"
    )
    overall = definitions(
        (tip(m), estimate(at(model, m)).replace('<span class="ci">', " <small>(").replace("</span>", ")</small>"))
        for m in ("balanced_accuracy", "kappa", "jk_index", "macro_auroc", "ece")
    )
    return section("classes", "Per class", table(head, rows), overall) + section(
        "ec57", "AAMI EC57: supraventricular and ventricular ectopic beats", table(head57, ec57), note
    )


def confusion(metrics: dict) -> str:
    """Counts and row shares, with what they are."""
    rows = [f'{class_label(c)} <small class="soft">{CLASS_NAMES[c]}</small>' for c in CLASSES]
    columns = [f"called {class_label(c)}" for c in CLASSES]
    body = confusion_table(metrics["model"]["confusion"], rows, columns, "truth")
    seeds = "; counts are means over seeds" if len(metrics["model"]["seeds"]) > 1 else ""
    note = f'<p class="note">Beats, and their share of the row (the true class){seeds}.</p>'
    return section("confusion", "Confusion matrix", note, body)


def curve_section(metrics: dict, curves: dict) -> str:
    model = metrics["model"]
    images = (
        figure(charts.roc(curves, model), "ROC, each class against the rest."),
        figure(charts.precision_recall(curves, model), "Precision and recall, each class against the rest."),
        figure(charts.calibration(model["calibration"]), "Calibration of the predicted class, all seeds."),
    )
    note = '<p class="note">Curves and areas are means over seeds.</p>'
    return section("curves", "Ranking and calibration", note, f'<div class="columns">{"".join(images)}</div>')
