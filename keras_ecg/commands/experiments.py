"""Subcommands that train and evaluate: tune, kfold, evaluate, adapt, pretrain, finetune, pipeline."""

import argparse
from dataclasses import replace
from types import ModuleType

from keras_ecg.commands import options
from keras_ecg.commands.options import Command, given
from keras_ecg.config import Config
from keras_ecg.errors import InputError
from keras_ecg.quiet import import_quietly

STAGES = ("download", "preprocess", "pack", "tune", "kfold", "final", "report")
PROTOCOLS = ("inter_patient", "intra_patient", "subsampling", "split", "superclasses")
RENAMED_PROTOCOLS = {"disjoint": "inter_patient", "random": "intra_patient"}
SAMPLE = "sample"
NEXT = """
That was the excerpt: it shows that everything works, not how well.
next: keras-ecg pipeline --config mitdb      (the whole database)
      keras-ecg predict sample_data/213      (a record with the published weights)"""


def experiment(name: str) -> ModuleType:
    """A module of `keras_ecg.experiments`, which may import TensorFlow."""
    return import_quietly(f"keras_ecg.experiments.{name}")


def add_tune(parser: argparse.ArgumentParser) -> None:
    options.add_config(parser)
    options.add_model(parser)
    group = parser.add_argument_group("search")
    group.add_argument("--algorithm", choices=("hyperband", "bayesian", "random"), help="search algorithm")
    group.add_argument("--max-trials", metavar="N", type=int, help="number of trials of the Bayesian or random search")
    group.add_argument("--max-epochs", metavar="N", type=int, help="largest number of epochs of a trial")


def tune(args: argparse.Namespace) -> None:
    config = options.with_model(options.read_config(args), args)
    tuning = replace(config.tuning, **given(args, "algorithm", "max_trials", "max_epochs"))
    experiment("tune").run_tuning(replace(config, tuning=tuning))


def add_kfold(parser: argparse.ArgumentParser) -> None:
    options.add_config(parser)
    options.add_model(parser)
    group = parser.add_argument_group("evaluation")
    group.add_argument("--folds", metavar="N", type=int, help="number of folds")
    group.add_argument(
        "--seeds", nargs="+", type=int, dest="kfold_seeds", metavar="SEED", help="seeds; one training per fold for each"
    )
    options.add_jobs(group)


def kfold(args: argparse.Namespace) -> None:
    config = options.with_model(options.read_config(args), args)
    config = replace(config, evaluation=replace(config.evaluation, **given(args, "folds", "kfold_seeds", "jobs")))
    if config.task == "rhythm":
        experiment("rhythm").run_rhythm_kfold(config)
    else:
        experiment("kfold").run_kfold(config)


def add_split(parser: argparse.ArgumentParser) -> None:
    options.add_config(parser)
    options.add_model(parser)
    group = parser.add_argument_group("evaluation")
    group.add_argument(
        "--split",
        choices=("ds1_ds2", "seed", "records"),
        help="DS1 -> DS2, the seven test records of the reference repository (seed), or your own records",
    )
    group.add_argument("--train-records", nargs="+", metavar="RECORD", help="training records of your own split")
    group.add_argument("--test-records", nargs="+", metavar="RECORD", help="test records of your own split")
    group.add_argument("--seeds", nargs="+", type=int, metavar="SEED", help="seeds; one training for each")
    options.add_jobs(group)


def split_config(args: argparse.Namespace) -> Config:
    """The configuration of an evaluation on a split, with the options of the command line."""
    config = options.with_model(options.read_config(args), args)
    evaluation = replace(config.evaluation, **given(args, "split", "seeds", "jobs"))
    if args.train_records or args.test_records:
        lists = tuple(args.train_records or ()), tuple(args.test_records or ())
        evaluation = replace(evaluation, split="records", train_records=lists[0], test_records=lists[1])
    return replace(config, evaluation=evaluation)


def evaluate(args: argparse.Namespace) -> None:
    config = split_config(args)
    if config.task == "rhythm":
        experiment("rhythm").run_rhythm_final(config)
    else:
        experiment("final").run_final(config)


def adapt(args: argparse.Namespace) -> None:
    config = split_config(args)
    experiment("adapt").run_adaptation(config)


def add_pretrain(parser: argparse.ArgumentParser) -> None:
    options.add_config(parser, "pretrain_config")
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model",
        choices=options.OBJECTIVES,
        help="pretraining objective; if it is not that of the configuration, its default options are used",
    )


def pretrain(args: argparse.Namespace) -> None:
    config = options.read_config(args)
    model = options.named_model(config.model, args.model, args.set)
    experiment("pretrain").run_pretraining(replace(config, model=model))


def protocol(value: str) -> str:
    """A protocol's name.

    Raises:
        InputError: an old name; the message gives the new one.
    """
    if value in RENAMED_PROTOCOLS:
        new = RENAMED_PROTOCOLS[value]
        raise InputError("--protocol", f"the old name {value}", new, f"use --protocol {new}")
    return value


def add_finetune(parser: argparse.ArgumentParser) -> None:
    options.add_config(parser, "finetune_config")
    options.add_model(parser)
    group = parser.add_argument_group("fine-tuning")
    group.add_argument("--protocol", type=protocol, choices=PROTOCOLS, help="evaluation protocol: split and labels")
    group.add_argument(
        "--objective",
        choices=("probe", "finetune", "embed", "triplet"),
        help="linear probe, fine-tuning, embedding evaluation, or triplet training",
    )
    group.add_argument("--labels", nargs="+", type=int, metavar="N", help="numbers of labels; 0 for all")
    group.add_argument(
        "--seeds", nargs="+", type=int, metavar="SEED", help="seeds of the draws of labels, or of the trainings"
    )
    group.add_argument(
        "--compare-with", nargs="+", metavar="NAME", help="further pretrained encoders to evaluate (superclasses)"
    )
    group.add_argument(
        "--pretrained-seeds",
        nargs="+",
        metavar="NAME",
        help="run folders of the same pretraining with other seeds (linear probe of superclasses)",
    )
    options.add_renamed(parser, "--against", "--compare-with")
    options.add_renamed(parser, "--replicas", "--pretrained-seeds")


def finetune(args: argparse.Namespace) -> None:
    config = options.with_model(options.read_config(args), args)
    names = ("protocol", "objective", "labels", "seeds", "compare_with", "pretrained_seeds")
    config = replace(config, finetuning=replace(config.finetuning, **given(args, *names)))
    experiment("finetune").study_of(config)(config)


def add_pipeline(parser: argparse.ArgumentParser) -> None:
    options.add_config(parser, SAMPLE)
    group = parser.add_argument_group("stages")
    group.add_argument(
        "--stages",
        nargs="+",
        choices=STAGES,
        default=STAGES,
        metavar="STAGE",
        help=f"stages to run, of: {' '.join(STAGES)}",
    )
    options.add_jobs(group, "number of processes for preprocessing and packing (default: one per core)")


def pipeline(args: argparse.Namespace) -> None:
    sample, config = not args.config, options.read_config(args)
    experiment("pipeline").run_pipeline(config, tuple(s for s in STAGES if s in args.stages), args.jobs)
    if sample:
        print(NEXT)


COMMANDS = {
    "tune": Command(
        "Search hyperparameters on held-out training subjects, and write a YAML file for the evaluations.",
        (
            "keras-ecg tune --config mitdb",
            "keras-ecg tune --config mitdb --algorithm bayesian --max-trials 20",
            "keras-ecg evaluate --config mitdb --config tuner_results/best.yaml",
        ),
        add_tune,
        tune,
        "run_hyperparameter_tuning.py",
    ),
    "kfold": Command(
        "Evaluate by inter-patient k-fold: each record is scored by a model trained on other subjects.",
        (
            "keras-ecg kfold --config mitdb                # five folds over the 44 non-paced records",
            "keras-ecg kfold --config mitdb --folds 10 --seeds 0 1 2",
            "keras-ecg kfold --config cinc2017             # rhythm classification",
        ),
        add_kfold,
        kfold,
        "run_kfold_evaluation.py",
    ),
    "evaluate": Command(
        "Evaluate on held-out records: train, predict the test records once, write a run folder with a report.",
        (
            "keras-ecg evaluate --config mitdb             # DS1 -> DS2, three seeds",
            "keras-ecg evaluate --config mitdb --split seed --model cnn",
            "keras-ecg evaluate --config mitdb --train-records 101 106 208 --test-records 100 233",
            "keras-ecg evaluate --config cinc2017          # rhythm classification: one fold, with its weights",
        ),
        add_split,
        evaluate,
        "run_final_evaluation.py",
    ),
    "adapt": Command(
        "Fine-tune to each test patient on the first five minutes of the record, and score the rest.",
        (
            "keras-ecg adapt --config mitdb                # DS1 -> DS2, three seeds",
            "keras-ecg adapt --config mitdb --set adaptation.seconds=120",
        ),
        add_split,
        adapt,
        "run_adaptation.py",
    ),
    "pretrain": Command(
        "Pretrain an encoder on unlabelled windows, and report collapse.",
        (
            "keras-ecg pack-windows --config pretrain_config      # the windows, once",
            "keras-ecg pretrain                                   # masked autoencoder",
            "keras-ecg pretrain --model contrastive               # NT-Xent",
            "keras-ecg pretrain --model contrastive --set model.options.objective=cmsc",
        ),
        add_pretrain,
        pretrain,
        "run_pretraining.py",
    ),
    "finetune": Command(
        "Evaluate a pretrained encoder with labels: probes, few labels, fine-tuning, embeddings, triplets.",
        (
            "keras-ecg finetune --weights mae              # inter-patient: DS1 -> DS2, 10 to 100 labels",
            "keras-ecg finetune --weights mae --protocol intra_patient --labels 10 100",
            "keras-ecg finetune --weights mae --protocol subsampling --labels 100 0 --objective finetune",
            "keras-ecg finetune --config ptbxl_probe --weights st-mem --compare-with mae ecg-jepa",
        ),
        add_finetune,
        finetune,
        "run_finetuning.py",
    ),
    "pipeline": Command(
        "Run every stage, from recordings to the report; by default on the bundled excerpt.",
        (
            "keras-ecg pipeline                            # the bundled excerpt, in minutes",
            "keras-ecg pipeline --config mitdb             # downloads the whole database first",
            "keras-ecg pipeline --config mitdb --data-dir FOLDER --stages preprocess pack",
        ),
        add_pipeline,
        pipeline,
    ),
}
