"""Presets made from pretraining runs: weights, input specification, and a card that lists the pretraining set."""

import shutil
from pathlib import Path

from keras_ecg.contract import Contract
from keras_ecg.encoders import read_contract
from keras_ecg.errors import InputError
from keras_ecg.evaluation.schema import REFERENCES
from keras_ecg.evaluation.titles import MODELS
from keras_ecg.files import atomic, read_json, write_json, write_text
from keras_ecg.runs.folder import RunFolder
from keras_ecg.runs.index import RUNS, cell, named_scores

MAX_BYTES = 5_000_000
SOURCES = {
    "mitdb": "MIT-BIH Arrhythmia Database 1.0.0 (Moody and Mark 2001), ODC-By 1.0",
    "sample": "excerpts of the MIT-BIH Arrhythmia Database 1.0.0 (Moody and Mark 2001), ODC-By 1.0",
    "cinc2017": "PhysioNet/CinC Challenge 2017, training set (Clifford et al. 2017), ODC-By 1.0",
    "ptbxl": "PTB-XL 1.0.3 (Wagner et al. 2020), CC BY 4.0",
}


CARD = """# {name}

Encoder pretrained without labels ({title}). Run: `{run}`, whose `config.yaml` lists all settings.

## Usage

<!-- not run: the signal is yours -->
```python
import keras_ecg as ke

encoder = ke.Encoder.from_preset("{name}")
leads = "{example}".split()
embeddings = encoder.embed(signal, 360.0, leads)  # signal (T, C) in mV: one embedding per window
```

## Input specification

- windows of {seconds:g} s at {rate:g} Hz; other sampling rates are resampled
- leads: {leads}{fallbacks}
- {units}, band-pass filter {band}, {normalization}
- a recording that does not meet this specification is rejected with a message

## Training data

| database | records | subjects | hours | source |
|---|---|---|---|---|
{seen}

{records}

These subjects must not be in the test set of an evaluation of this encoder.

## Protocol and metrics

One training run. A fraction of {held_out:g} of the subjects was held out of training. Normalized validation loss: the
held-out loss divided by {reference}, with the 95 % confidence interval by bootstrap over subjects; lower is better.

| encoder | normalized validation loss |
|---|---|
{losses}

## Limits

Other populations, devices and leads than those of the training data are untested. The embeddings are not diagnoses. Not
a medical device.

## Licence

Weights: Apache-2.0. Data: the sources above.

## How to cite

Keras ECG (`CITATION.cff`), the paper named in the model's module, and the databases above.
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
        title=MODELS[config["model"]["name"]],
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
    if path.stat().st_size > MAX_BYTES:
        raise InputError(path, f"{path.stat().st_size:,} bytes", f"at most {MAX_BYTES:,}", "pretrain a smaller one")
    for file in ("encoder.keras", "contract.json"):
        with atomic(target / file) as partial:
            shutil.copyfile(folder.path / file, partial)
    write_text(target / "README.md", card(name, read_contract(folder.path), metrics, folder.config))
    metric = {
        "name": "normalized validation loss",
        "value": round(metrics["model"]["relative_loss"]["mean"], 3),
        "on": "held-out subjects",
    }
    title = MODELS[folder.config["model"]["name"]]
    write_json(target / "preset.json", {"task": f"pretraining ({title})", "metric": metric, "license": "Apache-2.0"})
    return target
