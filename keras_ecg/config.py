"""The schema and the defaults: frozen dataclasses. A YAML file says only what differs, and why.

    config = load_config("configs/mitdb.yaml", overrides=["training.epochs=3"])
    config.beats.half_window_samples

An unknown key, or a value of another type, is an error that names the nearest key.
"""

import dataclasses
import difflib
import math
import re
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml

from keras_ecg.errors import InputError
from keras_ecg.resources import find_config, find_data

NUMBER = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")
LARGEST_SEED = 2**32 - 1  # of NumPy


def limited(default: Any, least: float, most: float = math.inf) -> Any:
    """A field of a `Section` whose value, or each of whose values, must lie between two limits, both included."""
    return field(default=default, metadata={"limits": (least, most)})


def distinct_seeds(*default: int) -> Any:
    """A field of a `Section` with at least one seed, none of them twice."""
    return field(default=default, metadata={"limits": (0, LARGEST_SEED), "distinct": True})


class Section:
    """A part of the configuration that checks the limits of its fields however it is made.

    Raises:
        InputError: on construction; names the option, its value and its limits.
    """

    def __post_init__(self):
        for option in dataclasses.fields(self):
            if "limits" in option.metadata:
                self._check(f"{type(self).__name__.lower()}.{option.name}", getattr(self, option.name), option.metadata)

    @staticmethod
    def _check(where: str, value: Any, metadata: typing.Mapping) -> None:
        least, most = metadata["limits"]
        values = value if isinstance(value, tuple) else (value,)
        expected = f"at least {least:g}" if most == math.inf else f"{least:g} to {most:g}"
        if not all(least <= v <= most and v < math.inf for v in values):  # False for NaN as well
            raise InputError(where, str(value), expected, "correct it")
        if metadata.get("distinct") and (not values or len(set(values)) < len(values)):
            raise InputError(where, str(list(values)), "at least one seed, none of them twice", "correct it")


@dataclass(frozen=True)
class Database:
    """Where recordings come from and where what is made of them goes."""

    name: str = "mitdb"
    data_dir: str = "mit-bih-arrhythmia-database-1.0.0"
    hdf5_dir: str = "preprocessed_data_h5_raw"
    tfrecord_dir: str = "tfrecord_data_batched"
    runs_dir: str = "Research_Runs"
    records: tuple[str, ...] = ()  # empty: every record of data_dir


@dataclass(frozen=True)
class Context:
    """The recording around each beat, which encoders of whole windows take: cleaned as they were pretrained."""

    seconds: float = 0.0  # 0: none is kept
    sampling_rate_hz: float = 100.0
    bandpass_hz: tuple[float, ...] = (0.5, 40.0)  # empty keeps the raw signal raw

    @property
    def samples(self) -> int:
        """T of a window: an even number, the beat in the middle; 0 where none is kept."""
        return round(self.seconds * self.sampling_rate_hz) // 2 * 2


@dataclass(frozen=True)
class Beats:
    """How a beat is cut out of a recording."""

    lead: str = "MLII"
    fallback_leads: tuple[str, ...] = ("II", "V5", "V2", "V1", "V4", "ECG1", "ECG")  # 102 and 104 have no MLII
    sampling_rate_hz: float = 360.0
    half_window_samples: int = 93  # 187 samples, 0.52 s: P wave to T wave
    bandpass_hz: tuple[float, ...] = ()  # e.g. [0.5, 40]; empty keeps the raw signal raw
    edge: Literal["pad", "drop"] = "pad"  # beats nearer to an end than half a window
    wavelet: str = "morl"
    scales: int = 32  # 1 to 32: 292 to 9.1 Hz at 360 Hz
    context: Context = field(default_factory=Context)


@dataclass(frozen=True)
class Sequences(Section):
    """How consecutive beats become one training example."""

    length: int = limited(3, 1)
    label_beat: Literal["middle", "last"] = "middle"
    chunk_size: int = limited(256, 1)  # sequences in one TFRecord example
    storage: Literal["scalogram", "samples"] = "scalogram"


@dataclass(frozen=True)
class Loader(Section):
    """How the stream is shuffled and normalized, and what it carries."""

    batch_size: int = limited(256, 1)
    cycle_length: int = limited(4, 1)
    shuffle_chunks: int = limited(16, 1)  # chunks mixed at a time: 4,096 sequences
    scalograms: bool = True  # an encoder of whole windows does without
    context: bool = False  # the window around each beat, as beats.context cleans it, z-scored
    normalize: Literal["scale", "global", "none"] = "scale"
    center: bool = False  # take each beat's median level off before its wavelet transform, which is then in the graph
    rr_features: bool = False
    waveforms: bool = False  # the beat and its difference to the record's median beat: transductive, and declared so
    difference_quantiles: bool = False  # how far from its median beat the record's beats are: transductive as well
    seed: int = limited(0, 0, LARGEST_SEED)


@dataclass(frozen=True)
class Augment:
    """Random changes of training sequences, each drawn anew every epoch; zero leaves a thing as it is."""

    normal_per_epoch: int = 0  # N beats drawn an epoch, a record's share ~ sqrt(its count); 0: all of them
    fusion_per_epoch: int = 0  # the same of F beats, most of which come from one patient or two
    premature: float = 0.0  # share of N beats in a regular rhythm whose intervals are redrawn with premature beats
    irregular: float = 0.0  # share of those N beats whose intervals are redrawn as in fibrillation
    mostly_premature: float = 0.3  # share of the redrawn rhythms in which premature beats are the rule
    foreign_rhythm: float = 0.0  # share of V beats that get the redrawn rhythm of another sequence
    fusion: float = 0.0  # share of V beats that are blended with their record's median beat, and become F
    tempo: float = 0.0  # all intervals times exp(+-tempo)
    amplitude: float = 0.0  # all samples times exp(+-amplitude)
    shift_samples: int = 0
    noise_mv: float = 0.0
    wander_mv: float = 0.0


@dataclass(frozen=True)
class WindowSource:
    """A folder of recordings from which unlabelled windows are cut."""

    database: str = ""  # its name, once among the sources
    folder: str = ""
    records: tuple[str, ...] = ()  # empty: every record of the folder
    exclude: tuple[str, ...] = ()  # records, or subjects with all their records
    folds: tuple[int, ...] = ()  # of PTB-XL; empty: all
    overlap: float | None = None  # None: that of all sources


@dataclass(frozen=True)
class Windows(Section):
    """Unlabelled windows for self-supervised pretraining: whence, and how they are cut."""

    sources: tuple[WindowSource, ...] = ()
    length_seconds: float = 10.0
    overlap: float = 0.5  # share of a window that the next one repeats
    sampling_rate_hz: float = 100.0
    leads: tuple[str, ...] = ("MLII",)
    fallback_leads: tuple[str, ...] = ("II", "ECG", "I", "V5")  # a single lead is called ECG in cinc2017
    bandpass_hz: tuple[float, ...] = (0.5, 40.0)  # empty keeps the raw signal raw
    chunk_size: int = limited(256, 1)  # windows in one file
    validation_fraction: float = 0.1  # of the subjects, held out for the validation loss
    validation_seed: int = 0
    tfrecord_dir: str = "window_tfrecords"


@dataclass(frozen=True)
class RhythmAugment:
    """Random changes of training recordings, each drawn anew every epoch; zero leaves a thing as it is.

    Sizes are in standard deviations of the recording.
    """

    invert: float = 0.0  # share that is turned upside down: electrodes of hand-held recorders are often swapped
    amplitude: float = 0.0  # all samples times exp(+-amplitude)
    noise: float = 0.0  # white noise of up to this size
    wander: float = 0.0  # sums of slow waves of up to this size
    erase_seconds: float = 0.0  # one stretch of up to this length is flat


@dataclass(frozen=True)
class Robustness:
    """How a trained model is disturbed, and asked what it looked at; on test recordings."""

    recordings: int = 400  # drawn from those tested, as many of each class as there are; 0: none
    snr_db: tuple[float, ...] = (24.0, 18.0, 12.0, 6.0, 0.0, -6.0)
    rates_hz: tuple[float, ...] = (200.0, 150.0, 120.0, 100.0, 75.0, 50.0)  # recorded so slowly, and brought back
    noise_dir: str = ""  # a folder with the noises of nstdb (bw, ma); empty: synthetic ones, and called so
    occluded: int = 120  # recordings whose stretches are taken away one by one; 0: none
    pictured: int = 8  # of those
    stretch_seconds: float = 1.0
    deleted: tuple[float, ...] = (0.1, 0.2, 0.3)  # shares of the stretches: the most important ones, or random ones
    draws: int = 5  # of random ones
    seed: int = 0


@dataclass(frozen=True)
class Rhythm(Section):
    """Whole recordings with one label each: which labels, how they are stored, and what a model sees of them."""

    labels: Literal["v3", "v2", "v1"] = "v3"  # of cinc2017: the experts corrected themselves twice
    lead: str = "ECG"
    fallback_leads: tuple[str, ...] = ("I", "MLII", "II")
    sampling_rate_hz: float = limited(100.0, 1)
    bandpass_hz: tuple[float, ...] = (0.5, 40.0)  # empty keeps the raw signal raw
    chunk_size: int = limited(64, 1)  # recordings in one file
    tfrecord_dir: str = "rhythm_tfrecords"
    crop_seconds: float = 30.72  # of a training example, drawn at random from a longer recording; 48 * 64 samples
    window_seconds: float = 61.44  # of a scored one; the longest recording has 61 s
    crops: int = limited(
        3, 1
    )  # of a recording longer than that, whose probabilities are averaged; 1: its beginning alone
    calibration_fraction: float = 0.1  # of the training recordings: never trained on, they set the temperature
    stages: Literal[1, 2] = 1  # 2: noisy or not, then the rhythm of what is not, by a model each
    augment: RhythmAugment = field(default_factory=RhythmAugment)
    robustness: Robustness = field(default_factory=Robustness)


@dataclass(frozen=True)
class Architecture:
    """Which model, and what differs from its own dataclass of defaults (`keras_ecg.models.MODELS`)."""

    name: str = "cnn_conformer"
    options: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Model(Architecture):
    """A model, and others that are trained beside it."""

    beside: tuple[Architecture, ...] = ()  # a beat classifier's `training.members` take turns among it and these


@dataclass(frozen=True)
class Training(Section):
    """How a model is trained: AdamW, linear warm-up, cosine decay, no early stopping on anything held out."""

    epochs: int = limited(8, 1)
    learning_rate: float = limited(1e-3, 1e-12)
    warmup_fraction: float = 0.1
    weight_decay: float = 0.01
    beta_2: float = 0.999
    clip_norm: float = limited(1.0, 1e-12)
    label_smoothing: float = limited(0.0, 0, 0.999)  # of a classifier, as the weights of its classes are
    class_weights: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 1.0)  # of N S V F Q in the loss
    ema_momentum: float = limited(0.0, 0, 1)  # 0: the last weights; else their exponential moving average
    members: int = 1  # beat classifiers that are trained, each under a seed of its own, and averaged into one
    gradient_accumulation: int = 1  # batches to a step: a paper's batch where memory holds a part of it
    data_parallel: bool = False  # each batch divided among all devices; the JAX backend alone can
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    jit_compile: bool = False  # XLA: pays on a GPU, costs compile time on a CPU


@dataclass(frozen=True)
class Adaptation(Section):
    """How a trained classifier is made a patient's own, by the labels of a record's first minutes."""

    seconds: float = limited(300.0, 1)  # of each test record: their labels are used, and none of their beats is scored
    steps: int = limited(200, 1)
    batch_size: int = limited(64, 1)  # of the patient's beats, and as many of training
    learning_rate: float = limited(1e-3, 1e-12)


@dataclass(frozen=True)
class Finetuning(Section):
    """What is learnt from labels on a pretrained encoder (`model.options.weights`), and by which protocol."""

    protocol: Literal["disjoint", "random", "subsampling", "split", "superclasses"] = "disjoint"
    # A linear classifier on the frozen encoder, or Keras training of all of it; of `superclasses` also what embeddings
    # know without one, before and after the encoder is trained on triplets.
    objective: Literal["probe", "finetune", "embed", "triplet"] = "probe"
    labels: tuple[int, ...] = (10, 25, 50, 100)  # in total; for `random` of each class; 0: all there are
    seeds: tuple[int, ...] = distinct_seeds(*range(10))
    relative: bool = True  # a probe's features less their record's median: transductive
    absolute: bool = False  # beside the relative features those as they are: for patients who are labelled, too
    rhythm: bool = True  # a probe sees the RR features, too
    normal_beats: int = 12000  # of `split`: N beats that a probe draws by seed; 0: all
    controls: tuple[str, ...] = ("untrained", "raw", "rhythm", "scratch")
    scratch_labels: tuple[int, ...] = ()  # of the control from scratch, each of whose draws is a training; empty: all
    against: tuple[str, ...] = ()  # other encoders beside it, for `superclasses`
    replicas: tuple[str, ...] = ()  # the same pretraining from other seeds: further seeds of that probe
    projection: int = 0  # of `triplet`: width of a linear layer on the mean tokens, which is compared; 0: none
    margin: float = 0.2  # of `triplet`
    hybrid: bool = False  # intervals and amplitudes beside the waveform, for `finetune` of `superclasses`
    test_fraction: float = 0.2  # of the subjects, for `subsampling`; as many validate
    patience: int = 10  # epochs without a better validation loss; without validation there is no early stopping


@dataclass(frozen=True)
class Tracking:
    """Where a pretraining can be watched, beside its run folder's history.csv."""

    tensorboard: bool = False  # event files in the run folder's logs/
    wandb_project: str = ""  # Weights & Biases, if its package is installed


@dataclass(frozen=True)
class Evaluation(Section):
    """What is trained on what, how often, and how sure the figures are."""

    split: Literal["ds1_ds2", "seed", "records"] = "ds1_ds2"
    train_records: tuple[str, ...] = ()  # for split: records
    test_records: tuple[str, ...] = ()
    seeds: tuple[int, ...] = distinct_seeds(0, 1, 2)
    kfold_seeds: tuple[int, ...] = distinct_seeds(0)  # every fold is another draw already
    folds: int = 5
    first_folds: int = 0  # of rhythms: only so many of them are run, as a variant may do; 0: all
    fold_seed: int = limited(0, 0, LARGEST_SEED)
    exclude_records: tuple[str, ...] = ("102", "104", "107", "217")  # paced; k-fold leaves them out
    selected_on: tuple[str, ...] = ()  # records on which this configuration was chosen: declared in every report
    bootstrap: int = limited(1000, 0)
    controls: bool = True
    jobs: int = 1  # trainings at a time, each in a process of its own: for cores that one training leaves idle


@dataclass(frozen=True)
class Tuning(Section):
    """The search: its algorithm, its budget, the space in configs/, and the training subjects held out."""

    algorithm: Literal["hyperband", "bayesian", "random"] = "hyperband"
    space: str = "configs/search_cnn_conformer.yaml"
    max_trials: int = limited(12, 1)
    max_epochs: int = limited(6, 1)
    validation_fraction: float = 0.25
    seed: int = limited(0, 0, LARGEST_SEED)
    directory: str = "tuner_results"
    output: str = "tuner_results/best.yaml"
    use_in_evaluations: bool = True  # whether the full pipeline lays the output over the evaluations' configuration


@dataclass(frozen=True)
class Config:
    """Everything that a result depends on."""

    title: str = "MIT-BIH heartbeats"
    task: Literal["beats", "rhythm"] = "beats"  # what is classified: each beat, or a whole recording
    database: Database = field(default_factory=Database)
    beats: Beats = field(default_factory=Beats)
    sequences: Sequences = field(default_factory=Sequences)
    loader: Loader = field(default_factory=Loader)
    augment: Augment = field(default_factory=Augment)
    windows: Windows = field(default_factory=Windows)
    rhythm: Rhythm = field(default_factory=Rhythm)
    model: Model = field(default_factory=Model)
    training: Training = field(default_factory=Training)
    adaptation: Adaptation = field(default_factory=Adaptation)
    finetuning: Finetuning = field(default_factory=Finetuning)
    tracking: Tracking = field(default_factory=Tracking)
    evaluation: Evaluation = field(default_factory=Evaluation)
    tuning: Tuning = field(default_factory=Tuning)


def _name(kind: Any) -> str:
    return getattr(kind, "__name__", str(kind)) if get_origin(kind) is None else str(kind).replace("typing.", "")


def _convert(value: Any, kind: Any, where: str) -> Any:
    """`value` as the annotation `kind` wants it, or an InputError at `where`."""
    if dataclasses.is_dataclass(kind):
        return from_dict(kind, value, where)
    origin = get_origin(kind)
    if origin is Literal:
        if value in get_args(kind):
            return value
        raise InputError(where, repr(value), f"one of {', '.join(map(repr, get_args(kind)))}", "correct it")
    if origin in (typing.Union, types.UnionType):
        for option in get_args(kind):
            if value is None and option is type(None):
                return None
            if option is not type(None) and value is not None:
                return _convert(value, option, where)
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(_convert(v, get_args(kind)[0], f"{where}[{i}]") for i, v in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return dict(value)
    if kind is float and isinstance(value, str) and NUMBER.fullmatch(value):
        return float(value)  # 1e-3 is a text to YAML 1.1
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if kind is str and isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # YAML reads a record's name, 100, as a number
    if isinstance(kind, type) and isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise InputError(where, f"{value!r}", f"a value of type {_name(kind)}", "correct it")


def from_dict(cls: type, values: Any, where: str = "config") -> Any:
    """Builds the dataclass `cls` from a plain dict.

    Raises:
        InputError: an unknown key (the nearest known one is named) or a value of another type.
    """
    if dataclasses.is_dataclass(values) and isinstance(values, cls):
        return values
    if not isinstance(values, dict):
        raise InputError(where, repr(values), "a mapping of keys to values", "correct it")
    kinds = typing.get_type_hints(cls)
    known = {f.name for f in dataclasses.fields(cls)}
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1, 0)
            expected = f"one of {', '.join(sorted(known))}"
            raise InputError(where, f"unknown key {key!r}", expected, f"did you mean {near[0]!r}?")
    return cls(**{key: _convert(value, kinds[key], f"{where}.{key}") for key, value in values.items()})


def to_dict(config: Any) -> dict:
    """The plain dict (lists for tuples) that `from_dict` reads back."""
    return {f.name: _plain(getattr(config, f.name)) for f in dataclasses.fields(config)}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return to_dict(value) if dataclasses.is_dataclass(value) else value


def read_yaml(path: Path | str) -> dict:
    """The mapping of a YAML file, or of a shipped configuration by its name (`resources.find_config`).

    Raises:
        InputError: no such file, or not a YAML mapping.
    """
    path = find_config(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(path, " ".join(str(error).split()), "YAML", "correct it") from None
    if values is not None and not isinstance(values, dict):
        raise InputError(path, type(values).__name__, "a mapping of keys to values", "correct it")
    return values or {}


def merge(base: dict, extra: dict) -> dict:
    """`base` with the values of `extra` laid over it, section by section."""
    out = dict(base)
    for key, value in extra.items():
        out[key] = merge(out[key], value) if isinstance(value, dict) and isinstance(out.get(key), dict) else value
    return out


def with_override(values: dict, text: str) -> dict:
    """`values` with one command-line setting `section.key=value` (the value is YAML) laid over it."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InputError("--set", repr(text), "section.key=value", "for example --set training.epochs=3")
    try:
        nested: Any = yaml.safe_load(value)
    except yaml.YAMLError:
        raise InputError("--set", repr(text), "a value that is YAML", "quote it") from None
    for part in reversed(name.split(".")):
        nested = {part: nested}
    return merge(values, nested)


def load_config(
    paths: Path | str | Sequence[Path | str] = (), overrides: Sequence[str] = (), base: Config | None = None
) -> Config:
    """The defaults (or `base`), with YAML files' values over them in order, and `section.key=value` over those.

    Raises:
        InputError: a missing file, an unknown key or a value of another type.
    """
    paths = [paths] if isinstance(paths, (str, Path)) else list(paths)
    values: dict = to_dict(base) if base else {}
    for path in paths:
        layer = read_yaml(path)
        from_dict(Config, layer, str(path))  # the error names the file that has it
        values = merge(values, layer)
    for text in overrides:
        values = with_override(values, text)
    return _with_bundled_data(from_dict(Config, values, "--set" if overrides else "config"))


def _with_bundled_data(config: Config) -> Config:
    """The configuration with the bundled recordings in place of a folder `sample_data` that is not here."""
    database = dataclasses.replace(config.database, data_dir=find_data(config.database.data_dir))
    sources = tuple(dataclasses.replace(source, folder=find_data(source.folder)) for source in config.windows.sources)
    return dataclasses.replace(config, database=database, windows=dataclasses.replace(config.windows, sources=sources))


def as_config(config: Config | dict | None) -> Config:
    """A Config from a Config, a plain dict or nothing."""
    return config if isinstance(config, Config) else from_dict(Config, config or {})
