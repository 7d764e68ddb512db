"""Subcommand that classifies a record: predict."""

import argparse

from keras_ecg.commands.options import Command
from keras_ecg.databases.paths import record_path
from keras_ecg.errors import InputError
from keras_ecg.quiet import import_quietly


def add_predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("record", help="path of a WFDB record, such as sample_data/213, which is bundled")
    group = parser.add_argument_group("classification")
    group.add_argument(
        "--task",
        choices=("beats", "rhythm"),
        default="beats",
        help="class of each beat (N S V F Q), or rhythm of the recording (N A O ~); default: %(default)s",
    )
    group.add_argument(
        "--preset", "--run", dest="run", metavar="NAME", help="preset, run folder, or folder written by save_to_preset"
    )
    group.add_argument(
        "--peaks",
        choices=("auto", "annotations", "detect"),
        default="auto",
        help="source of the R peaks; auto: annotations where there are any (default: %(default)s)",
    )
    group.add_argument(
        "--output-dir", metavar="FOLDER", default=".", help="folder of the results (default: current folder)"
    )


def predict(args: argparse.Namespace) -> None:
    path = record_path(args.record)
    header = path.with_name(f"{path.name}.hea")
    if not header.is_file():  # before wfdb and TensorFlow are imported
        raise InputError(header, "no such file", "the header of a WFDB record", "correct the path")
    # A missing signal file is reported before TensorFlow is imported.
    import_quietly("keras_ecg.databases.recordings").record_files(path.parent, path.name)
    module = import_quietly("keras_ecg.experiments.predict")
    if args.task == "rhythm":
        module.classify_rhythm(args.record, args.run, args.output_dir)
    else:
        module.classify_beats(args.record, args.run, args.peaks, args.output_dir)


COMMANDS = {
    "predict": Command(
        "Classify the beats or the rhythm of a WFDB record; write a table, and annotations of the beats.",
        (
            "keras-ecg predict sample_data/213                    # R peaks from its annotations",
            "keras-ecg predict sample_data/213 --peaks detect     # detected R peaks",
            "keras-ecg predict sample_data/100 --task rhythm      # normal, atrial fibrillation, other, or too noisy",
        ),
        add_predict,
        predict,
        "predict.py",
    ),
}
