"""Every stage in order, in one process: recordings, beats, TFRecords, search, k-fold, held-out evaluation, report.

A stage that is current is skipped, an interrupted one is taken up again.
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
from keras_ecg.experiments.final import run_final
from keras_ecg.experiments.kfold import run_kfold
from keras_ecg.experiments.rhythm import run_rhythm_final, run_rhythm_kfold
from keras_ecg.experiments.tune import run_tuning
from keras_ecg.files import read_json
from keras_ecg.runs.index import cell

logger = logging.getLogger(__name__)

HEADLINES = {
    "beats": {"accuracy": "accuracy", "macro_f1_nsvf": "macro-F1 NSVF", "classes.S.f1": "F1 S", "classes.V.f1": "F1 V"},
    "rhythm": {"score": "score", "classes.N.f1": "F1 N", "classes.A.f1": "F1 A", "classes.O.f1": "F1 O"},
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
    """The headline scores of finished runs beside their baselines', as plain text."""
    headline = HEADLINES[task]
    lines = [f"{'':34s}" + "".join(f"{title:>16s}" for title in headline.values())]
    for run in runs:
        metrics = read_json(run.path / "metrics.json")
        lines.append(f"{run.environment['study']}, {len(run.environment['seeds'])} seed(s)")
        for name, scores in {run.environment["model"]: metrics["model"], **metrics["baselines"]}.items():
            cells = [cell({"mean": at(scores, key).get("mean")}) for key in headline]
            lines.append(f"  {name:32s}" + "".join(f"{text:>16s}" for text in cells))
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
