"""Options that subcommands share, and the configuration that follows from them."""

import argparse
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from keras_ecg.config import Config, Model, load_config
from keras_ecg.errors import InputError
from keras_ecg.quiet import import_quietly

DEFAULT = "mitdb"
OBJECTIVES = ("mae", "contrastive", "st_mem", "ecg_jepa", "vqvae")  # `models.objectives.OBJECTIVES`, which need Keras

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Command:
    """A subcommand."""

    summary: str  # one line
    examples: tuple[str, ...]  # with the program's name; a comment may follow
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]
    script: str = ""  # the script in the root that does the same


class Renamed(argparse.Action):
    """An option under its old name: an error that gives the new one."""

    def __call__(self, parser, namespace, values, option_string=None):
        """Reject the old name.

        Raises:
            InputError: always.
        """
        raise InputError(option_string, "the old name of an option", str(self.const), f"use {self.const}")


def add_renamed(parser: argparse.ArgumentParser, old: str, new: str) -> None:
    """Add an old name of an option, which is left out of the help."""
    parser.add_argument(old, dest=argparse.SUPPRESS, nargs="*", action=Renamed, const=new, help=argparse.SUPPRESS)


def add_messages(parser: argparse.ArgumentParser) -> None:
    """Add `--quiet` and `--verbose`."""
    group = parser.add_argument_group("messages").add_mutually_exclusive_group()
    shown: dict[str, Any] = {"dest": "level", "action": "store_const", "default": argparse.SUPPRESS}
    group.add_argument("-q", "--quiet", const=logging.WARNING, help="results and warnings only, no progress", **shown)
    group.add_argument("-v", "--verbose", const=logging.DEBUG, help="also files, versions and tracebacks", **shown)


def add_config(parser: argparse.ArgumentParser, default: str = DEFAULT) -> None:
    """Add `--config NAME`, `--set section.key=value` and `--data-dir FOLDER`.

    Args:
        parser: of the subcommand.
        default: the shipped configuration that is used without `--config`.
    """
    group = parser.add_argument_group("configuration")
    group.add_argument(
        "--config",
        metavar="NAME",
        action="append",
        default=[],
        help=f"YAML file, or name of a shipped configuration (default: {default}); later ones override earlier ones",
    )
    group.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="set one option, such as training.epochs=3; may be repeated",
    )
    group.add_argument("--data-dir", metavar="FOLDER", help="folder of the recordings")
    parser.set_defaults(default_config=default)


def add_jobs(group: Any, what: str = "number of trainings at a time, each in its own process") -> None:
    """Add `--jobs N`."""
    group.add_argument("--jobs", metavar="N", type=int, help=what)


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add `--model NAME` and `--weights NAME`."""
    group = parser.add_argument_group("model")
    group.add_argument("--model", metavar="NAME", help="a model of keras_ecg.list_models()")
    group.add_argument("--weights", metavar="NAME", help="weights of a pretrained encoder: a preset or a run folder")


def given(args: argparse.Namespace, *names: str) -> dict:
    """The named arguments that were given, lists as tuples."""
    values = {name: getattr(args, name) for name in names}
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if v is not None}


def named_model(model: Model, name: str | None, settings: list[str]) -> Model:
    """The model of that name, if one is given; another one starts from its defaults and the options of `--set`."""
    if not name or name == model.name:
        return model
    return Model(name, load_config((), settings).model.options)


def with_model(config: Config, args: argparse.Namespace) -> Config:
    """The configuration with the model (`named_model`) and weights of the command line.

    The input specification of the weights names the model that was pretrained: `--weights nt-xent` needs no
    `--model contrastive` where the configuration names another objective.
    """
    model, name = config.model, args.model
    if args.weights and not name:
        encoders = import_quietly("keras_ecg.encoders")  # Keras takes seconds
        name = encoders.read_contract(args.weights).model if model.name in OBJECTIVES else ""
    model = named_model(model, name, args.set)
    if args.weights:
        model = replace(model, options={**model.options, "weights": args.weights})
    return replace(config, model=model)


def read_config(args: argparse.Namespace) -> Config:
    """The resolved configuration of a command's arguments; without `--config` the command's default one."""
    names = args.config or [args.default_config]
    logger.debug("configuration: %s", ", ".join(names + args.set))
    out = load_config(names, args.set)
    if args.data_dir:
        out = replace(out, database=replace(out.database, data_dir=args.data_dir))
    return out
