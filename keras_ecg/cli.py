"""The command `keras-ecg`: a parser with a subparser for each subcommand.

from keras_ecg.cli import main

main(["kfold", "--config", "mitdb"])     # ends as the program does: exit status 2 and one line for bad input
"""

import argparse
import difflib
import logging
import platform
import sys
import time
from collections.abc import Sequence

from keras_ecg import __version__
from keras_ecg.commands import data, doctor, experiments, predict, presets, runs
from keras_ecg.commands.options import Command, add_messages
from keras_ecg.errors import InputError, run_script
from keras_ecg.quiet import show_messages

COMMANDS: dict[str, Command] = {
    **data.COMMANDS,
    **experiments.COMMANDS,
    **predict.COMMANDS,
    **runs.COMMANDS,
    **presets.COMMANDS,
    **doctor.COMMANDS,
}
DESCRIPTION = "ECG classification and self-supervised pretraining in Keras: from recordings to inter-patient results."
EPILOG = """examples:
  keras-ecg pipeline                                  # every stage on the bundled excerpt
  keras-ecg predict sample_data/213                   # classify the beats of a record
  keras-ecg evaluate --config mitdb                   # train and evaluate: DS1 -> DS2
  keras-ecg COMMAND --help"""

logger = logging.getLogger(__name__)


def make_parser(defaults: dict[str, dict] | None = None) -> argparse.ArgumentParser:
    """The parser of the whole command line.

    Args:
        defaults: of a subcommand's options, by name, in place of its own.
    """
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("keras-ecg", description=DESCRIPTION, epilog=EPILOG, formatter_class=raw)
    parser.add_argument("--version", action="version", version=f"keras-ecg {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, command in COMMANDS.items():
        epilog = "\n  ".join(("examples:", *command.examples))
        out = subparsers.add_parser(
            name, help=command.summary, description=command.summary, epilog=epilog, formatter_class=raw
        )
        command.add_options(out)
        add_messages(out)
        out.set_defaults(**(defaults or {}).get(name, {}))
    return parser


def check_command(arguments: Sequence[str]) -> None:
    """Reject an unknown subcommand.

    Raises:
        InputError: the message names the nearest subcommand.
    """
    name = arguments[0] if arguments else ""
    if name and not name.startswith("-") and name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, 1, 0)[0]
        known = ", ".join(COMMANDS)
        raise InputError("keras-ecg", f"unknown command {name!r}", f"one of {known}", f"did you mean {near}?")


def run(arguments: Sequence[str], **defaults) -> None:
    """Run a command line.

    Args:
        arguments: without the program's name.
        defaults: of the subcommand's options, by name, in place of its own.

    Raises:
        InputError: bad input.
        SystemExit: after `--help`, after a wrong argument, and where a check fails.
    """
    check_command(arguments)
    parser = make_parser(dict.fromkeys(arguments[:1], defaults))
    args = parser.parse_args(arguments)
    if not args.command:
        parser.print_help()
        return
    show_messages(getattr(args, "level", logging.INFO))
    logger.debug("keras_ecg %s, Python %s, %s", __version__, platform.python_version(), platform.platform())
    began = time.monotonic()
    COMMANDS[args.command].run(args)
    logger.debug("%s took %.1f s", args.command, time.monotonic() - began)


def main(arguments: Sequence[str] | None = None, **defaults) -> None:
    """Run a command line, by default that of the program: exit status 2 and one line for bad input.

    Args:
        arguments: without the program's name.
        defaults: as of `run`.
    """
    run_script(lambda: run(sys.argv[1:] if arguments is None else arguments, **defaults))
