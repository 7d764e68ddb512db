"""Presets made from pretraining runs: weights, input specification, and a card that lists the pretraining set."""

import shutil
from pathlib import Path

from keras_ecg.contract import Contract
from keras_ecg.encoders import read_contract
from keras_ecg.errors import InputError
from keras_ecg.evaluation.schema import REFERENCES
from keras_ecg.files import atomic, read_json, write_text
from keras_ecg.runs.folder import RunFolder
from keras_ecg.runs.index import RUNS, cell, named_scores

MOST_BYTES = 5_000_000
SOURCES = {
    "mitdb": "MIT-BIH Arrhythmia Database 1.0.0 (Moody and Mark 2001), ODC-By 1.0",
    "sample": "excerpts of the MIT-BIH Arrhythmia Database 1.0.0 (Moody and Mark 2001), ODC-By 1.0",
    "cinc2017": "PhysioNet/CinC Challenge 2017, training set (Clifford et al. 2017), ODC-By 1.0",
    "ptbxl": "PTB-XL 1.0.3 (Wagner et al. 2020), CC BY 4.0",
}


CARD = """# {name}

An encoder pretrained without labels by the run `{run}`, whose `config.yaml` holds every option.

```python
from keras_ecg.encoders import load_encoder

leads = "{example}".split()
tokens = load_encoder("{name}")(signal, 360.0, leads)  # signal (M, L) in mV: (windows, tokens, width)
```

## Input

- windows of {seconds:g} s at {rate:g} Hz; leads {leads}{fallbacks}
- {units}, band-pass {band}, {normalization}
- other rates are resampled; other inputs are rejected

## Pretraining set

| database | records | subjects | unique hours | source |
|---|---|---|---|---|
{seen}

{records}

Not for tests on these subjects. A fraction of {held_out:g} of them was held out of training, for the validation loss.

## Normalized validation loss

Divided by {reference}; in parentheses the 95 % CI by bootstrap over subjects.

| | held-out subjects |
|---|---|
{losses}

Not a medical device.
"""


def records_of(source: dict) -> str:
    """Which records of a source of windows are in the pretraining set."""
    which = " ".join(source["records"]) or "all records"
    folds = " ".join(map(str, source.get("folds", ())))
    return f"{which} of folds {folds}" if folds else which


def card(name: str, contract: Contract, metrics: dict, config: dict) -> str:
    """The card: use, input specification, pretraining set, validation loss."""

    def row(*cells: str) -> str:
        return f"| {' | '.join(cells)} |"

    seen = [
        row(
            database,
            f"{t['records']:,}",
            f"{t['subjects']:,}",
            f"{t['hours']:.2f}",
            SOURCES.get(database, "see the run"),
        )
        for database, t in contract.seen.items()
    ]
    sources = [(s["database"], records_of(s)) for s in config["windows"]["sources"]]
    losses = [
        row(label, cell("relative_loss", of["relative_loss"])) for label, of in named_scores(metrics, name).items()
    ]
    return CARD.format(
        name=name,
        example=" ".join(contract.leads),
        run=contract.run,
        seconds=contract.window_seconds,
        rate=contract.sampling_rate_hz,
        leads=", ".join(contract.leads),
        fallbacks=f", or in their place {', '.join(contract.fallback_leads)}" if contract.fallback_leads else "",
        units=contract.units,
        band=" to ".join(f"{f:g}" for f in contract.bandpass_hz) + " Hz" if contract.bandpass_hz else "none",
        normalization=contract.normalization,
        seen="\n".join(seen),
        records="\n".join(f"- {database}: {records}" for database, records in sources),
        held_out=config["windows"]["validation_fraction"],
        reference=REFERENCES[metrics["kind"]],
        losses="\n".join(losses),
    )


def release(root: Path | str, run: str, name: str) -> Path:
    """Copy a finished pretraining's encoder to keras_ecg/presets/weights/NAME, with its input specification and a card.

    Raises:
        InputError: an unfinished run, one with alarms, or weights that are too large for the repository.
    """
    folder = RunFolder(Path(root) / RUNS / Path(run).name)
    path, target = folder.path / "encoder.keras", Path(root) / "keras_ecg" / "presets" / "weights" / name
    if not folder.finished or not path.is_file():
        raise InputError(folder.path, "no finished pretraining", "one of run_pretraining.py", "finish it")
    metrics = read_json(folder.path / "metrics.json")
    if metrics["alarms"]:
        raise InputError(folder.path, f"alarms: {'; '.join(metrics['alarms'])}", "none", "release a better one")
    if path.stat().st_size > MOST_BYTES:
        raise InputError(path, f"{path.stat().st_size:,} bytes", f"at most {MOST_BYTES:,}", "pretrain a smaller one")
    for file in ("encoder.keras", "contract.json"):
        with atomic(target / file) as partial:
            shutil.copyfile(folder.path / file, partial)
    write_text(target / "README.md", card(name, read_contract(folder.path), metrics, folder.config))
    return target
