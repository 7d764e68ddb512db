"""Subcommands that make the data: download, preprocess, pack, pack-windows, pack-recordings."""

import argparse

from keras_ecg.commands.options import Command, add_config, add_jobs, read_config
from keras_ecg.quiet import import_quietly

PROCESSES = "number of processes (default: one per core)"


def add_download(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("database")
    group.add_argument("--db-name", default="mitdb", help="name of the database on PhysioNet (default: %(default)s)")
    group.add_argument(
        "--save-directory",
        metavar="FOLDER",
        help="target folder (default: mit-bih-arrhythmia-database-1.0.0 for mitdb, else the name of the database)",
    )
    group.add_argument(
        "--version", help="version, such as 1.0.0 (default: 1.0.0 for mitdb, else the newest on the server)"
    )
    group.add_argument(
        "--all-files", action="store_true", help="also download subfolders without records, and files of old viewers"
    )
    group = parser.add_argument_group("source")
    group.add_argument("--from", dest="source", metavar="FOLDER", help="copy from a local folder instead")
    group.add_argument("--base-url", metavar="URL", help="folder of the databases on another server")
    parser.set_defaults(folders={})  # default folders by database


def download(args: argparse.Namespace) -> None:
    module = import_quietly("keras_ecg.databases.download")
    folder = args.save_directory or (None if args.version else args.folders.get(args.db_name))
    url = args.base_url or module.BASE_URL
    module.download(args.db_name, folder, url, args.source, args.version, args.all_files)


def add_preprocess(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    group = parser.add_argument_group("preprocessing")
    add_jobs(group, PROCESSES)
    group.add_argument(
        "--skip-bad-records", action="store_true", help="skip records that cannot be read, and list them"
    )


def preprocess(args: argparse.Namespace) -> None:
    config = read_config(args)
    import_quietly("keras_ecg.data.preprocess").preprocess(config, args.skip_bad_records, args.jobs)


def add_packing(parser: argparse.ArgumentParser, default: str) -> None:
    add_config(parser, default)
    add_jobs(parser.add_argument_group("packing"), PROCESSES)


def pack(args: argparse.Namespace) -> None:
    config = read_config(args)
    import_quietly("keras_ecg.data.tfrecords").pack(config, args.jobs)


def pack_windows(args: argparse.Namespace) -> None:
    config = read_config(args)
    import_quietly("keras_ecg.data.windows").pack_windows(config, args.jobs)


def pack_recordings(args: argparse.Namespace) -> None:
    config = read_config(args)
    import_quietly("keras_ecg.data.rhythm_records").pack_rhythm(config, args.jobs)


COMMANDS = {
    "download": Command(
        "Download a database from PhysioNet, or copy a local one, and verify it; a rerun resumes.",
        (
            "keras-ecg download                                             # the MIT-BIH Arrhythmia Database",
            "keras-ecg download --db-name nstdb --save-directory nstdb      # any other database",
            "keras-ecg download --from FOLDER                               # from a copy on this machine",
        ),
        add_download,
        download,
        "download_data.py",
    ),
    "preprocess": Command(
        "Cut recordings into beats with their scalograms: one HDF5 file per record, and metadata.json.",
        (
            "keras-ecg preprocess                         # the whole MIT-BIH database",
            "keras-ecg preprocess --config sample         # the bundled excerpt",
            "keras-ecg preprocess --data-dir FOLDER --skip-bad-records",
        ),
        add_preprocess,
        preprocess,
        "preprocess_data.py",
    ),
    "pack": Command(
        "Pack preprocessed beats into TFRecord files: overlapping sequences, each beat stored once.",
        (
            "keras-ecg pack --config sample",
            "keras-ecg pack --set sequences.storage=samples   # 30 times smaller; scalograms are computed in the graph",
        ),
        lambda parser: add_packing(parser, "mitdb"),
        pack,
        "create_batched_tfrecords.py",
    ),
    "pack-windows": Command(
        "Pack unlabelled windows of WFDB folders into TFRecord files, for self-supervised pretraining.",
        (
            "keras-ecg pack-windows --config pretrain_config",
            "keras-ecg pack-windows --set 'windows.sources=[{database: sample, folder: sample_data}]'",
        ),
        lambda parser: add_packing(parser, "mitdb"),
        pack_windows,
        "create_window_tfrecords.py",
    ),
    "pack-recordings": Command(
        "Pack whole recordings, one label each, into TFRecord files, for rhythm classification.",
        (
            "keras-ecg pack-recordings                        # CinC 2017: recordings and labels in cinc2017/",
            "keras-ecg pack-recordings --data-dir FOLDER",
        ),
        lambda parser: add_packing(parser, "cinc2017"),
        pack_recordings,
        "create_rhythm_tfrecords.py",
    ),
}
