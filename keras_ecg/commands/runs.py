"""Subcommand for run folders: verify, report, index, publish, attach, release."""

import argparse
import sys
from pathlib import Path

from keras_ecg.commands.options import Command, add_messages
from keras_ecg.errors import InputError
from keras_ecg.quiet import import_quietly

RUNS = "Research_Runs"


def add_runs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", default=".", type=Path, help=f"folder that contains {RUNS} (default: current folder)")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, title="actions")

    def action(name: str, summary: str) -> argparse.ArgumentParser:
        out = actions.add_parser(name, help=summary, description=summary)
        out.add_argument("--root", default=argparse.SUPPRESS, type=Path, help=f"folder that contains {RUNS}")
        add_messages(out)
        return out

    out = action("verify", "Recompute every metric of the published runs from their predictions.")
    out.add_argument("--all", action="store_true", help="all finished runs, not only the published ones")
    action("index", f"Write {RUNS}/README.md and the results block of README.md.")
    out = action("report", "Write report.html of a run again.")
    out.add_argument("run", help="folder of the run")
    out = action("publish", "Publish a run: list it in published.json under the name of a claim.")
    out.add_argument("claim", help="name of the claim")
    out.add_argument("run", help="folder of the run")
    out.add_argument("--title", help="title of the result")
    out.add_argument("--ablation", action="append", default=[], metavar="LABEL=RUN", help="a run to compare with")
    out = action("attach", "Add variants of a rhythm classification to its report.")
    out.add_argument("run", help="folder of the run")
    out.add_argument("variants", nargs="+", metavar="NAME=RUN")
    out = action("release", "Copy a pretrained encoder to the presets, with its card.")
    out.add_argument("run", help="folder of the pretraining")
    out.add_argument("name", help="name of the preset")


def named_runs(where: str, texts: list[str]) -> dict[str, str]:
    """Label to folder, from LABEL=RUN.

    Raises:
        InputError: a text of another form.
    """
    pairs = [text.rpartition("=") for text in texts]
    if not all(label and equals and run for label, equals, run in pairs):
        raise InputError(where, repr(texts), "LABEL=RUN", "for example 'CNN=FOLDER'")
    return {label: Path(run).name for label, _, run in pairs}


def verify(args: argparse.Namespace) -> None:
    if not import_quietly("keras_ecg.runs").verify(args.root, args.all):
        sys.exit(1)


def index(args: argparse.Namespace) -> None:
    print(import_quietly("keras_ecg.runs").write_index(args.root))


def report(args: argparse.Namespace) -> None:
    run = import_quietly("keras_ecg.runs").open_run(args.run, args.root / RUNS)
    print(import_quietly("keras_ecg.report").write_report(run.path))


def publish(args: argparse.Namespace) -> None:
    ablations = named_runs("--ablation", args.ablation)
    import_quietly("keras_ecg.runs").publish(args.root, args.claim, args.run, args.title, ablations)
    print(f"{args.claim}: {Path(args.run).name}")


def attach(args: argparse.Namespace) -> None:
    variants = named_runs("variants", args.variants)
    import_quietly("keras_ecg.runs.variants").attach(args.root, args.run, variants)
    print(args.root / RUNS / Path(args.run).name / "report.html")


def release(args: argparse.Namespace) -> None:
    print(import_quietly("keras_ecg.runs.release").release(args.root, args.run, args.name))


ACTIONS = {
    "verify": verify,
    "index": index,
    "report": report,
    "publish": publish,
    "attach": attach,
    "release": release,
}
COMMANDS = {
    "runs": Command(
        "Verify, index, report and publish run folders, and release their encoders as presets.",
        (
            "keras-ecg runs verify --all                   # recompute every metric of all finished runs",
            "keras-ecg runs report RUN                     # write report.html again",
            "keras-ecg runs publish CLAIM RUN --ablation 'CNN=OTHER'",
            "keras-ecg runs release RUN NAME               # a pretrained encoder becomes a preset",
        ),
        add_runs,
        lambda args: ACTIONS[args.action](args),
    ),
}
