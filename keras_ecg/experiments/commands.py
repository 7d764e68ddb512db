"""Command lines of the studies, each imported once its arguments are known to be right: TensorFlow takes seconds."""

import argparse
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from keras_ecg import cli
from keras_ecg.config import Config
from keras_ecg.databases.recordings import record_files, without_suffix
from keras_ecg.quiet import import_quietly

STAGES = ("download", "preprocess", "pack", "tune", "kfold", "final", "report")
SAMPLE = "configs/sample.yaml"
NEXT = """
That was the excerpt: it shows that everything works, not how well.
next: bash run_full_pipeline.sh --config configs/mitdb.yaml   (the whole database)
      .venv/bin/python predict.py sample_data/213            (a record with the published weights)"""


def study(name: str) -> ModuleType:
    """A module of this package, which may import TensorFlow."""
    return import_quietly(f"keras_ecg.experiments.{name}")


def given(args: argparse.Namespace, *names: str) -> dict:
    """The named arguments that were given; lists as tuples."""
    values = {name: getattr(args, name) for name in names}
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if v is not None}


def tune() -> None:
    parser = cli.parser("Searches hyperparameters on held-out training subjects.")
    parser.add_argument("--algorithm", choices=("hyperband", "bayesian", "random"))
    parser.add_argument("--max-trials", type=int, help="of the Bayesian and the random search")
    parser.add_argument("--max-epochs", type=int)
    cli.add_model(parser)
    args = parser.parse_args()
    config = cli.with_model(cli.config(args), args)
    tuning = replace(config.tuning, **given(args, "algorithm", "max_trials", "max_epochs"))
    study("tune").run_tuning(replace(config, tuning=tuning))


def kfold() -> None:
    parser = cli.parser("Trains and scores the configured model in patient-wise folds, and pools the test folds.")
    parser.add_argument("--folds", type=int)
    parser.add_argument("--seeds", nargs="+", type=int, dest="kfold_seeds", metavar="SEED")
    cli.add_jobs(parser)
    cli.add_model(parser)
    args = parser.parse_args()
    config = cli.with_model(cli.config(args), args)
    config = replace(config, evaluation=replace(config.evaluation, **given(args, "folds", "kfold_seeds", "jobs")))
    if config.task == "rhythm":
        study("rhythm").run_rhythm_kfold(config)
    else:
        study("kfold").run_kfold(config)


def held_out(description: str) -> Config:
    """The configuration of a study of a split, with what its command line says."""
    parser = cli.parser(description)
    parser.add_argument("--split", choices=("ds1_ds2", "seed", "records"))
    parser.add_argument("--train-records", nargs="+", metavar="RECORD", help="with --test-records: a split of your own")
    parser.add_argument("--test-records", nargs="+", metavar="RECORD")
    parser.add_argument("--seeds", nargs="+", type=int)
    cli.add_jobs(parser)
    cli.add_model(parser)
    args = parser.parse_args()
    config = cli.with_model(cli.config(args), args)
    wanted = replace(config.evaluation, **given(args, "split", "seeds", "jobs"))
    if args.train_records or args.test_records:
        lists = tuple(args.train_records or ()), tuple(args.test_records or ())
        wanted = replace(wanted, split="records", train_records=lists[0], test_records=lists[1])
    return replace(config, evaluation=wanted)


def final() -> None:
    config = held_out("Trains and scores the configured model on the configured split.")
    if config.task == "rhythm":
        study("rhythm").run_rhythm_final(config)
    else:
        study("final").run_final(config)


def adapt() -> None:
    config = held_out("Adapts a model of the split to the first minutes of each test record, and scores the rest.")
    study("adapt").run_adaptation(config)


def pretrain() -> None:
    parser = cli.parser(
        "Pretrains the configured objective on the configured windows, but for held-out subjects.",
        "pretrain_config.yaml",
    )
    parser.add_argument("--model", choices=cli.OBJECTIVES, help="another than the config's starts from its defaults")
    args = parser.parse_args()
    config = cli.config(args)
    study("pretrain").run_pretraining(replace(config, model=cli.named_model(config.model, args.model, args.set)))


def finetune() -> None:
    parser = cli.parser("Learns from few labels by the configured protocol.", "finetune_config.yaml")
    cli.add_model(parser)
    parser.add_argument("--protocol", choices=("disjoint", "random", "subsampling", "split", "superclasses"))
    parser.add_argument("--objective", choices=("probe", "finetune", "embed", "triplet"))
    parser.add_argument("--labels", nargs="+", type=int, help="numbers of labels; 0 for all")
    parser.add_argument("--seeds", nargs="+", type=int)
    parser.add_argument("--against", nargs="+", help="other encoders beside it, for superclasses")
    parser.add_argument("--replicas", nargs="+", help="the encoder pretrained from other seeds, for that probe")
    args = parser.parse_args()
    config = cli.with_model(cli.config(args), args)
    names = ("protocol", "objective", "labels", "seeds", "against", "replicas")
    config = replace(config, finetuning=replace(config.finetuning, **given(args, *names)))
    study("finetune").study_of(config)(config)


def predict() -> None:
    parser = argparse.ArgumentParser(description="Classifies the beats of a WFDB record (N S V F Q), or its rhythm.")
    parser.add_argument("record", help="path of the record, such as sample_data/213")
    tasks = ("beats", "rhythm")
    parser.add_argument("--task", choices=tasks, default="beats", help="each beat, or one rhythm (N A O ~)")
    parser.add_argument("--preset", "--run", dest="run", help="a preset, or a folder of a run or of save_to_preset")
    parser.add_argument("--peaks", choices=("auto", "annotations", "detect"), default="auto")
    parser.add_argument("--output-dir", default=".")
    args = parser.parse_args()
    path = without_suffix(Path(args.record))
    record_files(path.parent, path.name)  # where one is missing, that is told at once
    if args.task == "rhythm":
        study("predict").classify_rhythm(args.record, args.run, args.output_dir)
    else:
        study("predict").classify_beats(args.record, args.run, args.peaks, args.output_dir)


def pipeline() -> None:
    parser = cli.parser("Runs every stage, by default on the bundled excerpt.")
    parser.prog = "run_full_pipeline.sh"
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES, metavar="STAGE", help=" ".join(STAGES))
    parser.add_argument("--jobs", type=int, help="processes of the data stages (default: one per core)")
    args = parser.parse_args()
    sample = not args.config
    args.config = args.config or [SAMPLE]
    config = cli.config(args)
    study("pipeline").run_pipeline(config, tuple(s for s in STAGES if s in args.stages), args.jobs)
    if sample:
        print(NEXT)
