"""The index of published runs: published.json, and the pages made from the runs' metrics.

published.json is {"CLAIM": {"run": "FOLDER", "title": "...", "ablations": {"label": "FOLDER"}}}; only "run" is needed.
summary.yaml lists the rows of the table in README.md: the claim and metric of a task, and the best comparable public
result.
"""

from collections.abc import Iterator
from pathlib import Path

from keras_ecg.config import read_yaml
from keras_ecg.errors import InputError
from keras_ecg.evaluation.names import at
from keras_ecg.evaluation.schema import best_of, format_value, title
from keras_ecg.evaluation.titles import baseline_title, is_baseline, model_title, role, row_title
from keras_ecg.files import read_json, write_json, write_text
from keras_ecg.runs.files import read_run_file

RUNS = "Research_Runs"
START, END = "<!-- results -->", "<!-- /results -->"
COLUMNS = {  # of a claim's table, by the kind of run
    "beats": ("accuracy", "macro_f1_nsvf", "macro_f1_five", *(f"classes.{c}.f1" for c in "NSVFQ")),
    "rhythm": ("score", *(f"classes.{c}.f1" for c in "NAO~"), "ece_before", "ece"),
    "superclasses": ("macro_auroc", *(f"classes.{c}.auroc" for c in ("NORM", "MI", "STTC", "CD", "HYP"))),
    "few_labels": ("accuracy", "macro_f1", "auroc"),
    "embeddings": (
        *("linear_auroc", "attentive_auroc", "neighbours_auroc", "classes.davies_bouldin"),
        *("classes.nmi", "classes.ari", "classes.silhouette", "patients.ari"),
    ),
    "pretraining": ("relative_loss", "effective_rank", "r2", "usage", "perplexity"),
}
PARTS = {"without_202": "without record 202", "without_q": "without class Q", "ensemble": "ensemble of the seeds"}
HOW = (
    "Mean ± standard deviation over seeds of single models, in parentheses the 95 % CI by bootstrap over subjects; for "
    "metrics with ↓ lower is better. A claim is the name of a result in `published.json`. `keras-ecg runs verify` "
    "recomputes every value from the stored predictions."
)


def published(root: Path | str = ".") -> dict:
    """The content of Research_Runs/published.json; empty when there is none.

    Raises:
        InputError: it has another layout.
    """
    path = Path(root) / RUNS / "published.json"
    if not path.is_file():
        return {}
    try:
        claims = read_json(path)
        sound = all(isinstance(c["run"], str) and isinstance(c.get("ablations", {}), dict) for c in claims.values())
    except (InputError, KeyError, TypeError, AttributeError):
        sound = False
    if not sound:
        raise InputError(path, "another layout", '{"CLAIM": {"run": "FOLDER"}}', "correct it")
    return claims


def run_names(claims: dict) -> list[str]:
    """Every run folder of the claims, ablations included, each once."""
    return list(dict.fromkeys(f for c in claims.values() for f in (c["run"], *c.get("ablations", {}).values())))


def cell(name: str, stats: dict | float | None) -> str:
    """`0.951 ± 0.002 (0.930–0.970)`: mean, sd over seeds, 95 % CI over subjects; a dash where undefined.

    Args:
        name: of the metric.
        stats: its mean, sd, low and high, or a single value; None or empty where the run lacks it.
    """
    if not isinstance(stats, dict):
        return format_value(name, stats)
    text = format_value(name, stats.get("mean"))
    if stats.get("mean") is not None and stats.get("sd") is not None:
        text += f" ± {format_value(name, stats['sd'])}"
    if stats.get("low") is not None:
        text += f" ({format_value(name, stats['low'])}–{format_value(name, stats['high'])})"
    return text


def named_model(runs: Path, name: str) -> str:
    """Name of a run's model, as tables show it."""
    return model_title(read_run_file(runs / name, "environment.json"), read_run_file(runs / name, "config.yaml"))


def columns(kind: str, model: dict) -> list[str]:
    """Metrics of a claim's table: those of its kind that the model has."""
    if kind in COLUMNS:
        return list(COLUMNS[kind])
    found = [name for name in COLUMNS["pretraining"] if name in model]
    return [*found[:1], *(f"databases.{d}" for d in model.get("databases", {})), *found[1:]]


def seeds_of(model: dict) -> str:
    """`, 3 seeds`; empty where the metrics have no seeds."""
    seeds = len(model.get("seeds", ()))
    return f", {seeds} seed{'s' * (seeds > 1)}" if seeds else ""


def named_scores(metrics: dict, model: str, others: dict[str, dict] | None = None) -> dict[str, dict]:
    """Metrics of the model, its subsets and ensemble, of ablations, and of the baselines, each by the name of its row.

    Args:
        metrics: of the run.
        model: name of the model.
        others: metrics of the ablations by label.
    """
    found = metrics["model"]
    rows = {f"**{model}**{seeds_of(found)}": found}
    rows |= {f"{model}, {label}": found[part] for part, label in PARTS.items() if part in found}
    rows |= {f"ablation: {label}{seeds_of(of)}": of for label, of in (others or {}).items()}
    for name, of in metrics["baselines"].items():
        label = f"{role(name)}: {row_title(name, of, found)}"
        rows[label] = of
        if "without_q" in of and "without_q" in found:
            rows[f"{label}, without class Q"] = of["without_q"]
    return rows


def markdown(kind: str, named: dict[str, dict]) -> list[str]:
    """The table of a claim in Markdown; of few labels a row for each number of labels."""
    model = next(iter(named.values()))
    if kind == "few_labels":
        sizes = list(model["labels"])
        names = [f"labels.{sizes[-1]}.{name}" for name in COLUMNS[kind]]
        rows = [
            (f"{label}, {size} labels", [cell(f"labels.{size}.{n}", found["labels"][size][n]) for n in COLUMNS[kind]])
            for size in sizes
            for label, found in named.items()
            if size in found["labels"]
        ]
    else:
        names = columns(kind, model)
        rows = [(label, [cell(name, at(found, name)) for name in names]) for label, found in named.items()]
    head = ["| | " + " | ".join(map(title, names)) + " |", "|---|" + "---|" * len(names)]
    return head + [f"| {label} | {' | '.join(cells)} |" for label, cells in rows]


def table(runs: Path, claim: dict) -> list[str]:
    """The table of a claim in Markdown: model, its subsets and ensemble, ablations, baselines."""
    metrics = read_run_file(runs / claim["run"], "metrics.json")
    ablations = claim.get("ablations", {})
    others = {label: read_run_file(runs / f, "metrics.json")["model"] for label, f in ablations.items()}
    return markdown(metrics["kind"], named_scores(metrics, named_model(runs, claim["run"]), others))


def size_of(metrics: dict) -> str:
    """How much was scored."""
    model = metrics["model"]
    if "recordings" in model:
        people = f" of {model['subjects']:,} patients" if "macro_auroc" in model else ""
        return f"{model['recordings']:,} recordings{people}"
    if "beats" not in model:
        return f"{model['windows']:,} windows of {model['subjects']} held-out subjects"
    records = f" of {model['records']} records" if "records" in model else ""
    return f"{model['beats']:,} beats{records} from {model['subjects']} subjects"


def results_pages(root: Path | str = ".", link: str = "") -> list[tuple[str, str]]:
    """(title, Markdown) of every claim: what was scored, the link to its report, and its table.

    Args:
        root: holds Research_Runs.
        link: prefix of the links to reports, such as "Research_Runs/".
    """
    runs, pages = Path(root) / RUNS, []
    for name, claim in published(root).items():
        size = size_of(read_run_file(runs / claim["run"], "metrics.json"))
        report = f"[{claim['run']}]({link}{claim['run']}/report.html)"
        text = "\n".join([f"Claim `{name}`: {size}; report {report}.", "", *table(runs, claim)])
        pages.append((claim.get("title", name), text))
    return pages


def best_baseline(metrics: dict, name: str) -> tuple[str, dict] | None:
    """Name and statistics of the baseline with the best mean of a metric; None without baselines.

    A baseline of fewer recordings than the model's does not count.
    """
    found = {
        baseline: at(of, name)
        for baseline, of in metrics["baselines"].items()
        if is_baseline(baseline) and row_title(baseline, of, metrics["model"]) == baseline_title(baseline)
    }
    best = best_of(name, {baseline: stats.get("mean") for baseline, stats in found.items()})
    return (baseline_title(best[0]), found[best[0]]) if best else None


def summary(root: Path | str = ".") -> list[str]:
    """The results table of README.md in Markdown: a row per entry of summary.yaml; empty without that file.

    Each entry has `claim`, `task` (first cell), `metric` (dotted name) and its `title`, `baseline` (key of `baselines`
    in metrics.json), and `public`: `value` and `source` of the best comparable public result, perhaps its `link` and a
    `note`. A claim that is not published has no row.

    Raises:
        InputError: an entry lacks a key, or its claim has no such metric or baseline.
    """
    path, claims = Path(root) / RUNS / "summary.yaml", published(root)
    if not path.is_file():
        return []
    rows = [
        "| task | metric | ours (95 % CI) | best baseline | best comparable public result |",
        "|---|---|---|---|---|",
    ]
    for entry in read_yaml(path)["rows"]:
        if missing := [key for key in ("claim", "task", "metric", "title", "baseline", "public") if key not in entry]:
            raise InputError(path, f"a row without {', '.join(missing)}", "all keys", "add them")
        if claim := claims.get(entry["claim"]):
            rows.append(summary_row(path, entry, claim["run"]))
    return rows


def summary_row(path: Path, entry: dict, run: str) -> str:
    """A row of the results table: task with link, metric, our value, baseline, public result.

    Raises:
        InputError: the run has no such metric or baseline.
    """
    metrics, name = read_run_file(path.parent / run, "metrics.json"), entry["metric"]
    ours, baseline = (at(of, name) for of in (metrics["model"], metrics["baselines"].get(entry["baseline"], {})))
    if not ours or not baseline:
        found = f"{name} of the baseline {entry['baseline']}" if ours else name
        raise InputError(path, f"no {found} in {run}", "a metric that model and baseline have", "correct it")
    compared = f"{cell(name, {'mean': baseline['mean']})} ({baseline_title(entry['baseline'])})"
    public = entry["public"]
    source = f"[{public['source']}]({public['link']})" if public.get("link") else public["source"]
    shown = ", ".join(filter(None, [source, public.get("note")]))
    shown = f"{public['value']} ({shown})" if shown else public["value"]
    report = f"[{entry['task']}]({RUNS}/{run}/report.html)"
    return f"| {report} | {entry['title']} | {cell(name, ours)} | {compared} | {shown} |"


def write_index(root: Path | str = ".") -> Path:
    """Write Research_Runs/README.md, Research_Runs/index.html and, between its markers, the table of README.md.

    Returns:
        The path of Research_Runs/README.md.
    """
    from keras_ecg.report.index import write_page  # matplotlib loads slowly

    root = Path(root)
    runs = root / RUNS
    page = ["# Published runs", "", "Generated by `python -m keras_ecg.runs index` from `published.json`.", "", HOW]
    page += ["", "`index.html` in this folder sorts, filters and compares the runs; open it in a browser."]
    for heading, text in results_pages(root):
        page += ["", f"## {heading}", "", text]
    write_text(runs / "README.md", "\n".join(page) + "\n")
    write_page(root)
    readme, block = root / "README.md", summary(root)
    if readme.is_file() and block:
        text = readme.read_text(encoding="utf-8")
        head, start, rest = text.partition(START)
        _, end, tail = rest.partition(END)
        if start and end:
            write_text(readme, head + "\n".join([START, *block, END]) + tail)
    return runs / "README.md"


def published_runs(root: Path | str = ".") -> Iterator[tuple[str, str, str]]:
    """Folder, claim and title of every published run, with its ablations and the variants that are attached to it."""
    seen = set()
    for name, claim in published(root).items():
        main = claim.get("title", name)
        variants = read_run_file(Path(root) / RUNS / claim["run"], "environment.json").get("variants", {})
        labels = {claim["run"]: main}
        labels |= {folder: f"{main}; ablation: {k}" for k, folder in claim.get("ablations", {}).items()}
        labels |= {folder: f"{main}; variant: {baseline_title(k)}" for k, folder in variants.items()}
        for folder, label in labels.items():
            if folder not in seen:
                seen.add(folder)
                yield folder, name, label


def publish(root: Path | str, claim: str, run: str, title: str | None = None, ablations: dict | None = None) -> None:
    """Name a finished run as a claim in published.json, and rewrite the index.

    Raises:
        InputError: a run is absent or unfinished.
    """
    runs, name = Path(root) / RUNS, Path(run).name
    for folder in (name, *(ablations or {}).values()):
        if read_run_file(runs / folder, "environment.json").get("status") != "finished":
            raise InputError(runs / folder, "an unfinished run", "a finished one", "rerun its command: it resumes")
        read_run_file(runs / folder, "metrics.json")
    claims = published(root)
    entry = claims.get(claim, {}) | {"run": name}
    if title:
        entry["title"] = title
    if ablations:
        entry["ablations"] = entry.get("ablations", {}) | ablations
    write_json(runs / "published.json", claims | {claim: entry})
    write_index(root)
