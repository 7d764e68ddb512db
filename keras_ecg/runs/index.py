"""The index of published runs: published.json, and the tables made from the runs' metrics.

published.json is {"CLAIM": {"run": "FOLDER", "title": "...", "ablations": {"label": "FOLDER"}}}; only "run" is needed.
"""

from collections.abc import Collection
from pathlib import Path

from keras_ecg.databases.ptbxl import SUPERCLASSES
from keras_ecg.errors import InputError
from keras_ecg.evaluation.names import at
from keras_ecg.explanations import REFERENCES, row_title, title_of
from keras_ecg.files import read_json, write_json, write_text

RUNS = "Research_Runs"
START, END = "<!-- results -->", "<!-- /results -->"
COLUMNS = {
    "accuracy": "accuracy",
    "macro_f1_nsvf": "macro-F1 NSVF",
    "macro_f1_five": "macro-F1 five",
    "classes.N.f1": "F1 N",
    "classes.S.f1": "F1 S",
    "classes.V.f1": "F1 V",
    "classes.F.f1": "F1 F",
    "classes.Q.f1": "F1 Q",
}
RHYTHM_COLUMNS = {
    "score": "score",
    "classes.N.f1": "F1 N",
    "classes.A.f1": "F1 A",
    "classes.O.f1": "F1 O",
    "classes.~.f1": "F1 noisy",
}
TITLES = {
    "mitdb-ds1-ds2": "MIT-BIH, DS1 → DS2",
    "mitdb-seed-split": "MIT-BIH, seven test records of the closest public work",
    "mitdb-kfold": "MIT-BIH, patient-wise k-fold over 44 records",
    "mitdb-adapted": "MIT-BIH, DS1 → DS2, adapted to the first five minutes of each record; the rest is scored",
    "mitdb-fewshot-disjoint": "MIT-BIH, normal or not from few labels, patients apart",
    "mitdb-fewshot-random": "MIT-BIH, normal or not from few labels of random beats: leaky, for comparison only",
    "ptbxl-contrastive": "PTB-XL, five superclasses, linear probe of a contrastive encoder of twelve leads",
    "ptbxl-probe": "PTB-XL, five superclasses, linear probe of ST-MEM, other encoders beside it",
    "ptbxl-embeddings": "PTB-XL, five superclasses: what ST-MEM's embeddings know",
    "ptbxl-triplet": "PTB-XL, five superclasses: what ST-MEM's embeddings know after triplets, and before",
    "ptbxl-finetuned": "PTB-XL, five superclasses, trained end to end from NT-Xent",
    "nt-xent": "NT-Xent on unlabelled windows",
    "nt-xent-twelve": "NT-Xent on unlabelled windows of twelve leads",
    "nt-xent-resnet1d": "NT-Xent on unlabelled windows of twelve leads, ResNet1D",
    "cmsc": "CMSC on unlabelled windows",
    "cmsmlc": "CMSMLC on unlabelled windows of twelve leads",
    "mitdb-probe-mae": "MIT-BIH, DS1 → DS2, linear probe of the masked autoencoder",
    "mitdb-probe-nt-xent": "MIT-BIH, DS1 → DS2, linear probe of the NT-Xent encoder",
    "mitdb-probe-cmsc": "MIT-BIH, DS1 → DS2, linear probe of the CMSC encoder",
    "mae": "Masked autoencoder on unlabelled windows",
    "st-mem": "ST-MEM on unlabelled windows of twelve leads",
    "ecg-jepa": "ECG-JEPA on unlabelled windows of eight leads",
    "vqvae": "VQ-VAE on unlabelled windows of twelve leads",
    "cinc2017-kfold": "CinC 2017, rhythm of whole recordings, five folds, labels v3; score: mean F1 of N, A, O",
    "cinc2017-final": "CinC 2017, one fold, whose model `predict.py --task rhythm` uses",
}
PARTS = {"without_202": "without record 202", "without_q": "without class Q", "ensemble": "ensemble of the seeds"}


def published(root: Path | str = ".") -> dict:
    """The content of Research_Runs/published.json; empty when there is none."""
    path = Path(root) / RUNS / "published.json"
    if not path.is_file():
        return {}
    try:
        claims = read_json(path)
        sound = all(isinstance(c["run"], str) for c in claims.values())
    except (InputError, KeyError, TypeError, AttributeError):
        sound = False
    if not sound:
        raise InputError(path, "another layout", '{"CLAIM": {"run": "FOLDER"}}', "correct it")
    return claims


def run_names(claims: dict) -> list[str]:
    """Every run folder that the claims name, ablations included, each once."""
    return list(dict.fromkeys(f for c in claims.values() for f in (c["run"], *c.get("ablations", {}).values())))


def cell(score: dict | None) -> str:
    """`0.951 ± 0.002 (0.930–0.970)`: mean, sd over seeds, 95 % interval over subjects; a dash where undefined."""
    if not score or score.get("mean") is None:
        return "–"
    text = f"{score['mean']:.3f}" + (f" ± {score['sd']:.3f}" if score.get("sd") is not None else "")
    return text + (f" ({score['low']:.2f}–{score['high']:.2f})" if score.get("low") is not None else "")


def _head(columns: Collection[str]) -> list[str]:
    return ["| | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]


def _row(label: str, scores: dict) -> str:
    return f"| {label} | " + " | ".join(cell(at(scores, name)) for name in COLUMNS) + " |"


def _read(runs: Path, name: str, file: str) -> dict:
    path = runs / name / file
    if not path.is_file():
        raise InputError(path, "no such file", "a finished run", "correct published.json or finish the run")
    return read_json(path)


def table(runs: Path, claim: dict, full: bool) -> list[str]:
    """Markdown rows of one claim: the model, what belongs beside it, ablations, baselines."""
    metrics = _read(runs, claim["run"], "metrics.json")
    if metrics.get("kind") in PLAIN_TABLES:
        others = {label: _read(runs, f, "metrics.json")["model"] for label, f in claim.get("ablations", {}).items()}
        seeds = len(metrics["model"].get("seeds", ()))
        label = f"**model**, {seeds} seed{'s' * (seeds > 1)}" if metrics["kind"] == "rhythm" else "**pretrained**"
        return PLAIN_TABLES[metrics["kind"]](named_scores(metrics, label, others), full)
    name = _read(runs, claim["run"], "environment.json").get("model", "model")
    seeds = len(metrics["model"]["seeds"])
    rows = _head(COLUMNS.values())
    rows.append(_row(f"**{name}**, {seeds} seed{'s' * (seeds > 1)}", metrics["model"]))
    for part, label in PARTS.items():
        if part in metrics["model"] and full:
            rows.append(_row(f"{name}, {label}", metrics["model"][part]))
    for label, folder in claim.get("ablations", {}).items():
        ablation = _read(runs, folder, "metrics.json")["model"]
        count = len(ablation["seeds"])
        rows.append(_row(f"{label}, {count} seed{'s' * (count > 1)}", ablation))
    for baseline, scores in metrics["baselines"].items():
        rows.append(_row(f"baseline: {title_of(baseline)}", scores))
        if full and "without_q" in scores and "without_q" in metrics["model"]:
            rows.append(_row(f"baseline: {title_of(baseline)}, without class Q", scores["without_q"]))
    return rows


def named_scores(metrics: dict, model: str, others: dict[str, dict] | None = None) -> dict[str, dict]:
    """The scores of the model, of others beside it, and of its baselines, each by the name of its row."""
    baselines = {f"baseline: {row_title(c, of, metrics['model'])}": of for c, of in metrics["baselines"].items()}
    return {model: metrics["model"], **(others or {}), **baselines}


def few_labels_table(named: dict[str, dict], full: bool) -> list[str]:
    """Rows of a study with few labels: in full every number of labels, else the most."""
    names = {"accuracy": "accuracy", "macro_f1": "macro-F1", "auroc": "AUROC"}
    sizes = list(next(iter(named.values()))["labels"])
    rows = _head(names.values())
    for size in sizes if full else sizes[-1:]:
        for label, of in named.items():
            if size in of["labels"]:
                cells = " | ".join(cell(of["labels"][size][name]) for name in names)
                rows.append(f"| {label}, {size} labels | {cells} |")
    return rows


def pretraining_table(named: dict[str, dict], full: bool) -> list[str]:
    """Rows of a pretraining: the held-out loss beside its baselines', by database; the rank of embeddings."""
    first = next(iter(named.values()))
    databases = list(first.get("databases", {}))
    ranked = ["effective rank of embeddings"] if "effective_rank" in first else []
    ranked += ["R²", "codes used", "perplexity"] if "codes" in first else []
    rows = _head(["held-out loss over chance", *databases, *ranked])
    for label, of in named.items():
        cells = [cell(f) for f in (of["relative_loss"], *(of.get("databases", {}).get(d) for d in databases))]
        cells += [f"{of['effective_rank']:.1f} of {of['dimensions']}"] if "effective_rank" in of else []
        cells += (
            [cell(of["r2"]), f"{of['usage']:.0%} of {of['codes']}", f"{of['perplexity']:.0f}"] if "codes" in of else []
        )
        rows.append(f"| {label} | {' | '.join(cells)} |")
    return rows


def rhythm_table(named: dict[str, dict], full: bool) -> list[str]:
    """Rows of a study of rhythms: the model, in full its ensemble, the baselines; variants are calibrated, too."""
    rows = _head([*RHYTHM_COLUMNS.values(), "calibration error", "calibrated"])
    model = next(iter(named))
    if full and "ensemble" in named[model]:
        named = {model: named[model], PARTS["ensemble"]: named[model]["ensemble"], **named}
    for label, of in named.items():
        errors = [of.get("ece_before"), of.get("ece")] if "ece_before" in of else [of.get("ece"), None]
        cells = [*(at(of, name) for name in RHYTHM_COLUMNS), *errors]
        rows.append(f"| {label} | {' | '.join(map(cell, cells))} |")
    return rows


def superclasses_table(named: dict[str, dict], full: bool) -> list[str]:
    """Rows of a probe of PTB-XL's superclasses: in full each of them, else their mean."""
    names = {"macro AUROC": "macro_auroc"} | ({c: f"classes.{c}.auroc" for c in SUPERCLASSES} if full else {})
    rows = _head(names)
    for label, of in named.items():
        rows.append(f"| {label} | {' | '.join(cell(at(of, name)) for name in names.values())} |")
    return rows


def embeddings_table(named: dict[str, dict], full: bool) -> list[str]:
    """Rows of a study of embeddings: probes, neighbours and separation, in full clusters as well."""
    names = {"linear probe": "linear_auroc", "attentive probe": "attentive_auroc", "20 neighbours": "neighbours_auroc"}
    names["Davies-Bouldin, lower is better"] = "classes.davies_bouldin"
    if full:
        scores = {"NMI": "nmi", "ARI": "ari", "silhouette": "silhouette"}
        names |= {title: f"classes.{score}" for title, score in scores.items()} | {"patients' ARI": "patients.ari"}
    rows = _head(names)
    for label, of in named.items():
        rows.append(f"| {label} | {' | '.join(cell(at(of, name) or None) for name in names.values())} |")
    return rows


PLAIN_TABLES = {
    "few_labels": few_labels_table,
    **dict.fromkeys(REFERENCES, pretraining_table),
    "superclasses": superclasses_table,
    "embedded": embeddings_table,
    "rhythm": rhythm_table,
}


def size_of(metrics: dict) -> str:
    """What was scored, in words."""
    model = metrics["model"]
    if "recordings" in model:
        people = f" of {model['subjects']:,} patients" if "macro_auroc" in model else ""
        return f"{model['recordings']:,} recordings{people}"
    if "beats" not in model:
        return f"{model['windows']:,} held-out windows of {model['subjects']} subjects"
    records = f" of {model['records']} records" if "records" in model else ""
    return f"{model['beats']:,} beats{records} from {model['subjects']} subjects"


HOW = (
    "Mean ± standard deviation over seeds of single models, and in brackets the 95 % interval by bootstrap over "
    "subjects. `python -m keras_ecg.runs verify` recomputes every number from the stored predictions."
)


def write_index(root: Path | str = ".") -> Path:
    """Writes Research_Runs/README.md and, between its markers, the results block of README.md."""
    root = Path(root)
    runs, claims = root / RUNS, published(root)
    page = [
        "# Published runs",
        "",
        "Generated by `python -m keras_ecg.runs index`; edit `published.json` instead.",
        HOW,
    ]
    block = [HOW]
    for name, claim in claims.items():
        title = claim.get("title") or TITLES.get(name, name)
        size = size_of(_read(runs, claim["run"], "metrics.json"))
        link = f"[{claim['run']}]({{}}{claim['run']}/report.html)"
        page += ["", f"## {title}", "", f"`{name}`: {size}; report {link.format('')}", ""]
        page += table(runs, claim, full=True)
        block += ["", f"**{title}**: {size}; {link.format(f'{RUNS}/')}", "", *table(runs, claim, full=False)]
    write_text(runs / "README.md", "\n".join(page) + "\n")
    readme = root / "README.md"
    if readme.is_file():
        text = readme.read_text(encoding="utf-8")
        head, start, rest = text.partition(START)
        _, end, tail = rest.partition(END)
        if start and end:
            write_text(readme, head + "\n".join([START, *block, END]) + tail)
    return runs / "README.md"


def publish(root: Path | str, claim: str, run: str, title: str | None = None, ablations: dict | None = None) -> None:
    """Names a finished run as a claim in published.json, and rewrites the index.

    Raises:
        InputError: a run is absent or unfinished.
    """
    runs, name = Path(root) / RUNS, Path(run).name
    for folder in (name, *(ablations or {}).values()):
        if _read(runs, folder, "environment.json").get("status") != "finished":
            raise InputError(runs / folder, "an unfinished run", "a finished one", "rerun its command: it resumes")
    claims = published(root)
    entry = claims.get(claim, {}) | {"run": name}
    if title:
        entry["title"] = title
    if ablations:
        entry["ablations"] = entry.get("ablations", {}) | ablations
    write_json(runs / "published.json", claims | {claim: entry})
    write_index(root)
