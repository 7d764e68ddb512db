"""Verify, index, redraw and publish runs, and release their encoders.

python -m keras_ecg.runs verify [--all]       recompute every metric of the published (or all finished) runs
python -m keras_ecg.runs index                write Research_Runs/README.md and the results block of README.md
python -m keras_ecg.runs report RUN           draw report.html anew
python -m keras_ecg.runs publish CLAIM RUN [--title T] [--ablation LABEL=RUN]
python -m keras_ecg.runs attach RUN NAME=RUN ...  score variants of a study of rhythms beside it
python -m keras_ecg.runs release RUN NAME     copy a pretrained encoder to the presets, with its card
"""

import argparse
import sys
from pathlib import Path

from keras_ecg.errors import InputError
from keras_ecg.runs import open_run, publish, verify, write_index
from keras_ecg.runs.index import RUNS
from keras_ecg.runs.variants import attach


def named_runs(where: str, texts: list[str]) -> dict[str, str]:
    """Label to folder, from LABEL=RUN.

    Raises:
        InputError: a text of another form.
    """
    pairs = [text.rpartition("=") for text in texts]
    if not all(label and equals and run for label, equals, run in pairs):
        raise InputError(where, repr(texts), "LABEL=RUN", "for example 'CNN=FOLDER'")
    return {label: Path(run).name for label, _, run in pairs}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m keras_ecg.runs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", default=".", type=Path, help="folder that holds Research_Runs")
    commands = parser.add_subparsers(dest="command", required=True)
    root = argparse.ArgumentParser(add_help=False)
    root.add_argument("--root", default=argparse.SUPPRESS, type=Path)
    commands.add_parser("verify", parents=[root]).add_argument("--all", action="store_true")
    commands.add_parser("index", parents=[root])
    commands.add_parser("report", parents=[root]).add_argument("run")
    publishing = commands.add_parser("publish", parents=[root])
    publishing.add_argument("claim")
    publishing.add_argument("run")
    publishing.add_argument("--title")
    publishing.add_argument("--ablation", action="append", default=[], metavar="LABEL=RUN")
    attaching = commands.add_parser("attach", parents=[root])
    attaching.add_argument("run")
    attaching.add_argument("variants", nargs="+", metavar="NAME=RUN")
    releasing = commands.add_parser("release", parents=[root])
    releasing.add_argument("run")
    releasing.add_argument("name")
    given = parser.parse_args(arguments)
    if given.command == "verify":
        if not verify(given.root, given.all):
            sys.exit(1)
    elif given.command == "index":
        print(write_index(given.root))
    elif given.command == "report":
        from keras_ecg.report import write_report

        print(write_report(open_run(given.run, given.root / RUNS).path))
    elif given.command == "release":
        from keras_ecg.runs.release import release  # Keras loads slowly

        print(release(given.root, given.run, given.name))
    elif given.command == "attach":
        attach(given.root, given.run, named_runs("variants", given.variants))
        print(Path(given.root) / RUNS / Path(given.run).name / "report.html")
    else:
        ablations = named_runs("--ablation", given.ablation)
        publish(given.root, given.claim, given.run, given.title, ablations)
        print(f"{given.claim}: {Path(given.run).name}")
