"""Sections that reports of every kind have: alarms, declarations, comparison, training, configuration, versions."""

from collections.abc import Iterable, Sequence

import numpy as np

from keras_ecg.evaluation.names import at
from keras_ecg.evaluation.schema import METRICS, SECTIONS, STATISTICS, best_of, metric
from keras_ecg.evaluation.titles import baseline_title, is_baseline
from keras_ecg.report import charts
from keras_ecg.report.page import (
    Card,
    Cards,
    Code,
    Details,
    Heading,
    Inline,
    Lines,
    Note,
    Picture,
    Row,
    Section,
    Span,
    Table,
    card,
    count,
    definitions,
    difference,
    estimate,
    head,
)
from keras_ecg.report.run import Run

CLASS_COLUMNS = {
    "sensitivity": "sensitivity",
    "positive_predictivity": "positive predictivity",
    "f1": "F1",
    "auroc": "AUROC",
}


def alarms(run: Run, cautions: Sequence[str] = ()) -> Section:
    """What a reader must know before trusting a metric: failed checks, a collapsed predictor first, then cautions."""
    found = sorted(run.metrics.get("alarms", ()), key=lambda line: "collapsed" not in line)
    lines = [Span(f"{line[0].upper()}{line[1:]}.", tone="strong") for line in found]
    if skipped := run.environment.get("skipped_records"):
        cautions = [*cautions, f"Unreadable records that were skipped: {', '.join(map(str, skipped))}."]
    return Section("alarms", "Warnings", [Lines([*lines, *cautions])] if lines or cautions else [], "warnings")


def declarations(run: Run, pairs: Iterable[tuple[str, Inline | Sequence[Inline]]] = ()) -> Section:
    """Selection, statistics of test records, external data, and overlap with the pretraining set."""
    seen = run.environment.get("seen_unlabelled")
    shown = definitions([("pretraining set", f"transductive: {seen}" if seen else ""), *pairs])
    return Section("declarations", "Selection and use of test data", [shown] if shown.pairs else [])


def headline(cards: Sequence[Card]) -> Section:
    """The cards of the headline metrics."""
    return Section("headline", "Headline metrics", [Cards(cards)], "plain")


def metric_card(run: Run, name: str, baselines: Sequence[str] | None = None, **options) -> Card:
    """The card of one of the model's metrics, with the best of the baselines, or of those named."""
    means = {
        n: at(b, name).get("mean")
        for n, b in run.metrics["baselines"].items()
        if (is_baseline(n) if baselines is None else n in baselines)
    }
    best = best_of(name, means)
    return card(name, at(run.metrics["model"], name), best and (baseline_title(best[0]), best[1]), **options)


def class_table(model: dict, labels: dict[str, Inline], unit: str, columns: dict[str, str], caption: str) -> Table:
    """The table of metrics per class.

    Args:
        model: metrics of the model.
        labels: what is shown of each class, by its name.
        unit: what is counted, such as "beats".
        columns: titles of the metrics below `classes.NAME`, by name.
        caption: of the table.
    """
    rows = []
    for name, label in labels.items():
        cells = (estimate(f"classes.{name}.{m}", at(model, f"classes.{name}.{m}")) for m in columns)
        rows.append(Row(label, [count(model["class_counts"][name]), *cells]))
    first = next(iter(labels))
    heads = ["class", unit, *(head(f"classes.{first}.{m}", shown) for m, shown in columns.items())]
    return Table(heads, rows, caption)


def comparison(
    run: Run,
    names: Sequence[str],
    paired: Sequence[str],
    extra: Sequence[tuple[str, dict]] = (),
    note: str = "",
    before: Sequence = (),
) -> Section:
    """Model, ablations and baselines in one table, then the paired differences.

    Args:
        run: the run.
        names: metrics of the table.
        paired: metrics of the differences.
        extra: further rows after the model: name and metrics.
        note: what to know of the metrics.
        before: blocks before the table.
    """
    (name, model, _), *others = run.predictors()
    rows = [Row(name, [estimate(m, at(model, m) or None) for m in names], "lead")]
    rows += [Row(label, [estimate(m, at(found, m) or None) for m in names]) for label, found in extra]
    groups: set[str] = set()
    for label, found, group in others:
        rows.append(Row(label, [_cell(m, found) for m in names], "" if group in groups else "group"))
        groups.add(group)
    resamples = run.metrics["bootstrap"]["resamples"]
    spread = "Mean ± standard deviation over seeds of single models" if model.get("seeds") else "Value"
    caption = f"{spread}; below it the 95 % CI by bootstrap over subjects ({resamples:,} resamples)."
    blocks = [Note(note)] if note else []
    blocks += [*before, Table(["predictor", *map(head, names)], rows, caption, "tight"), *differences(run, paired)]
    return Section("comparison", "Comparison with baselines", blocks)


def _cell(name: str, found: dict) -> Span:
    return estimate(name, stats) if (stats := at(found, name)) else Span("")


def differences(run: Run, names: Sequence[str]) -> list:
    """The table of paired differences between the model and each baseline; nothing without baselines."""
    rows = [
        Row(f"minus {baseline_title(baseline)}", [difference(m, at(found, m)) for m in names])
        for baseline, found in run.metrics.get("differences", {}).items()
    ]
    caption = "Model minus baseline on the same resampled subjects, with the 95 % CI; coloured where the CI excludes 0."
    return [Heading("Paired differences"), Table([run.model, *map(head, names)], rows, caption)] if rows else []


def training(columns: dict[str, np.ndarray], names: Sequence[str] = ()) -> Section:
    """Training curves from history.csv: these columns, or the first three."""
    keys = {"seed", "fold", "member", "epoch", "seconds", "learning_rate"}
    numeric = [n for n, v in columns.items() if n not in keys and v.dtype.kind == "f" and np.isfinite(v).any()]
    shown = [n for n in names or numeric if n in numeric and not n.startswith("val_")][:3]
    if "epoch" not in columns or not shown:
        return Section("training", "Training history")
    dashed = " Dashed: held-out training subjects." if any(f"val_{n}" in columns for n in shown) else ""
    more = "".join(f" and {name}" for name in ("fold", "member") if name in columns)
    picture = Picture(charts.history(columns, shown), [f"One line per seed{more}.{dashed}"], "wide")
    return Section("training", "Training history", [picture])


def circumstances(run: Run) -> list[Section]:
    """Notes on the data, configuration, versions, how to recompute, and the metrics explained."""
    notes = [f"{note[0].upper()}{note[1:].rstrip('.')}." for note in run.environment.get("data_notes") or ()]
    config = (run.folder / "config.yaml").read_text(encoding="utf-8")
    again = f"python -m keras_ecg.runs verify --all\npython -m keras_ecg.runs report {run.folder.name}"
    return [
        Section("data", "Data notes", [Lines(notes)] if notes else []),
        Section("configuration", "Configuration", [Details("Resolved configuration", [Code(config)])]),
        versions(run),
        Section(
            "recompute",
            "Recompute",
            [
                Note("Train and evaluate again:"),
                Code(str(run.environment.get("command", ""))),
                Note("Recompute every metric from the stored predictions, and draw this report again:"),
                Code(again),
            ],
        ),
        glossary(run),
    ]


def versions(run: Run) -> Section:
    """Where and with what the run was computed."""
    environment = run.environment
    hashes, commit = environment.get("data_hashes"), environment.get("git_commit")
    resumed = f", resumed {n}×" if (n := environment.get("resumed")) else ""
    changed = ", with local changes" if environment.get("git_modified") else ""
    pairs = [
        ("started (UTC)", str(environment.get("started_utc", ""))),
        ("wall time", f"{environment.get('wall_seconds', 0) / 60:.1f} min{resumed}"),
        ("processor", f"{environment.get('processor', '')}, {environment.get('cores', '?')} cores"),
        ("accelerators", ", ".join(environment.get("accelerators") or []) or "none"),
        ("Python", str(environment.get("python", ""))),
        ("packages", ", ".join(f"{k} {v}" for k, v in environment.get("packages", {}).items())),
        ("commit", [Span(commit, tone="code"), changed.strip(", ")] if commit else "not from a repository"),
        ("fingerprint", Span(str(environment.get("fingerprint", "")), tone="code")),
        ("data", hashes if isinstance(hashes, str) else f"{len(hashes)} files, in environment.json" if hashes else ""),
    ]
    return Section("environment", "Versions and environment", [definitions(pairs)])


def glossary(run: Run) -> Section:
    """Explanations of every metric that the run has."""
    own = {key: value for key, value in run.metrics.items() if key not in ("baselines", "differences")}
    names = {metric(name).name for name in leaves(own)}
    rows = [
        Row(
            Span(row.name, tone="code"),
            [row.title.format("*").strip(), row.unit, _better(row.direction), row.explanation],
        )
        for row in METRICS
        if row.name in names
    ]
    heads = ["name in metrics.json", "title", "unit", "better", "meaning"]
    parts = [Row(Span(name, tone="code"), [line]) for name, line in (SECTIONS | STATISTICS).items()]
    body = Details(
        f"{len(rows)} metrics",
        [
            Table(heads, rows, "Every metric of this run.", "text"),
            Table(
                ["part of a name", "meaning"], parts, "Sections and statistics in the names of metrics.json.", "text"
            ),
        ],
    )
    return Section("definitions", "Metrics explained", [body])


def _better(direction: str) -> str:
    return f"{direction} is better" if direction else ""


def leaves(value: object, name: str = "") -> Iterable[str]:
    """Dotted names of all values of metrics.json; rows of a list share theirs."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{name}.{key}".lstrip("."))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for inner in value:
            yield from leaves(inner, name)
    elif value != []:
        yield name
