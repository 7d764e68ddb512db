"""Every stage in order, in one process: recordings, beats, TFRecords, search, k-fold, held-out evaluation, report.

A stage whose output is current is skipped, an interrupted one is resumed.
"""

import logging
import time
from pathlib import Path

from keras_ecg.config import Config, load_config
from keras_ecg.data.preprocess import preprocess
from keras_ecg.data.rhythm_records import pack_rhythm
from keras_ecg.data.tfrecords import pack
from keras_ecg.databases.download import download, is_complete
from keras_ecg.errors import InputError
from keras_ecg.evaluation.names import at
from keras_ecg.evaluation.schema import format_value, title
from keras_ecg.evaluation.titles import baseline_title, experiment_title, model_title
from keras_ecg.experiments.final import run_final
from keras_ecg.experiments.kfold import run_kfold
from keras_ecg.experiments.rhythm import run_rhythm_final, run_rhythm_kfold
from keras_ecg.experiments.tune import run_tuning
from keras_ecg.files import read_json

logger = logging.getLogger(__name__)

HEADLINES = {
    "beats": ("accuracy", "macro_f1_nsvf", "classes.S.f1", "classes.V.f1"),
    "rhythm": ("score", "classes.N.f1", "classes.A.f1", "classes.O.f1"),
}


def fetch(config: Config) -> None:
    """Downloads the configured database, unless its folder is complete."""
    folder = Path(config.database.data_dir)
    if is_complete(folder):
        logger.info("%s: complete", folder)
    elif config.task == "rhythm":
        expected = "training2017.zip of physionet.org/content/challenge-2017 unpacked, and REFERENCE-v3.csv in it"
        raise InputError(folder, "no complete copy", expected, "download and unpack it, or set --data-dir")
    else:
        download(config.database.name, str(folder))


def table(runs: list, task: str = "beats") -> str:
    """The main metrics of finished runs and their baselines as plain text."""
    names = HEADLINES[task]
    lines = [f"{'':36s}" + "".join(f"{title(name):>20s}" for name in names)]
    for run in runs:
        metrics = read_json(run.path / "metrics.json")
        seeds = len(run.environment["seeds"])
        lines.append(f"{experiment_title(run.environment['experiment'], metrics['kind'])}; seeds: {seeds}")
        found = {model_title(run.environment, run.config): metrics["model"]}
        found |= {baseline_title(name): scores for name, scores in metrics["baselines"].items()}
        for label, scores in found.items():
            cells = [format_value(name, at(scores, name).get("mean")) for name in names]
            lines.append(f"  {label:34s}" + "".join(f"{text:>20s}" for text in cells))
    return "\n".join(lines)


def run_pipeline(config: Config, stages: tuple[str, ...], jobs: int | None = None) -> None:
    """Runs the stages in order.

    Args:
        config: of everything.
        stages: of `commands.STAGES`.
        jobs: processes of the data stages.
    """
    finished = []
    evaluated = config

    work = {
        "download": lambda: fetch(config),
        "preprocess": lambda: preprocess(config, jobs=jobs),
        "pack": lambda: pack(config, jobs=jobs),
        "tune": lambda: run_tuning(config),
        "kfold": lambda: finished.append(run_kfold(evaluated)),
        "final": lambda: finished.append(run_final(evaluated)),
    }
    if config.task == "rhythm":
        work |= {
            "preprocess": lambda: logger.info("recordings are cleaned as they are packed"),
            "pack": lambda: pack_rhythm(config, jobs=jobs),
            "kfold": lambda: finished.append(run_rhythm_kfold(evaluated)),
            "final": lambda: finished.append(run_rhythm_final(evaluated)),
        }
    for number, stage in enumerate(stages, 1):
        if stage not in work:
            continue
        began = time.monotonic()
        logger.info("\n== %d/%d %s", number, len(stages), stage)
        work[stage]()
        if stage == "tune" and config.tuning.use_in_evaluations:
            evaluated = load_config(config.tuning.output, base=config)
        logger.info("-- %s: %.0f s", stage, time.monotonic() - began)
    if "report" in stages and finished:
        print(f"\n== {len(stages)}/{len(stages)} report\n{table(finished, config.task)}\n")
        for run in finished:
            print(f"open {run.path / 'report.html'}")
