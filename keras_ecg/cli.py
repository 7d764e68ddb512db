"""What the scripts' command lines share: --config, --set, and the folders."""

import argparse
from dataclasses import replace
from pathlib import Path

from keras_ecg.config import Config, Model, load_config
from keras_ecg.quiet import import_quietly

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
DEFAULT = "mitdb.yaml"
OBJECTIVES = ("mae", "contrastive", "st_mem", "ecg_jepa", "vqvae")  # `models.objectives.OBJECTIVES`, which need Keras


def parser(description: str | None, default: str = DEFAULT) -> argparse.ArgumentParser:
    """A parser with `--config FILE`, by default that of configs/, and `--set section.key=value`."""
    out = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument(
        "--config",
        metavar="FILE",
        action="append",
        default=[],
        help=f"YAML with what differs (default: configs/{default}); later ones lie over earlier",
    )
    out.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="one setting: training.epochs=3")
    out.add_argument("--data-dir", help="folder of the recordings")
    out.set_defaults(default_config=default)
    return out


def add_jobs(out: argparse.ArgumentParser) -> None:
    """Adds `--jobs N`."""
    out.add_argument("--jobs", type=int, help="trainings at a time, each in a process of its own")


def add_model(out: argparse.ArgumentParser) -> None:
    """Adds `--model NAME` and `--weights NAME`."""
    out.add_argument("--model", help="a model of ModelBuilder.MODELS")
    out.add_argument("--weights", help="of a pretrained encoder: a preset, or a run of run_pretraining.py")


def named_model(model: Model, name: str | None, settings: list[str]) -> Model:
    """The model of that name, if one is given; another one starts from its defaults and the options of `--set`."""
    if not name or name == model.name:
        return model
    return Model(name, load_config((), settings).model.options)


def with_model(config: Config, args: argparse.Namespace) -> Config:
    """The configuration with the model (`named_model`) and weights of the command line.

    Weights say themselves what was pretrained: `--weights nt-xent` needs no `--model contrastive` where the
    configuration names another objective.
    """
    model, name = config.model, args.model
    if args.weights and not name:
        encoders = import_quietly("keras_ecg.encoders")  # Keras takes seconds
        name = encoders.read_contract(args.weights).model if model.name in OBJECTIVES else ""
    model = named_model(model, name, args.set)
    if args.weights:
        model = replace(model, options={**model.options, "weights": args.weights})
    return replace(config, model=model)


def config(args: argparse.Namespace) -> Config:
    """The resolved configuration of a script's arguments; without --config that of its default in configs/."""
    default = CONFIGS / args.default_config
    given = args.config or ([default] if default.is_file() else [])
    out = load_config(given, args.set)
    if args.data_dir:
        out = replace(out, database=replace(out.database, data_dir=args.data_dir))
    return out
