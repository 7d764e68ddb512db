"""Names of models, encoders, baselines, experiments and databases as tables show them."""

import re

MODELS = {
    "cnn_conformer": "CNN-Conformer",
    "attention_only": "Attention only",
    "cnn": "CNN",
    "cnn_lstm": "CNN-LSTM",
    "resnet1d": "ResNet1D",
    "rhythm_encoder": "Encoder with a rhythm head",
    "window_classifier": "Encoder with a beat head",
    "recording_classifier": "Recording classifier",
    "contrastive": "Contrastive encoder",
    "mae": "Masked autoencoder (MAE)",
    "st_mem": "ST-MEM",
    "ecg_jepa": "ECG-JEPA",
    "vqvae": "VQ-VAE",
    "triplet": "Triplet embedding",
}
OBJECTIVES = {"nt_xent": "NT-Xent", "cmsc": "CMSC", "cmlc": "CMLC", "cmsmlc": "CMSMLC"}
ENCODERS = {
    "mae": "MAE",
    "nt-xent": "NT-Xent",
    "nt-xent-twelve": "NT-Xent, 12 leads",
    "nt-xent-resnet1d": "NT-Xent, ResNet1D, 12 leads",
    "cmsc": "CMSC",
    "cmsmlc": "CMSMLC, 12 leads",
    "st-mem": "ST-MEM",
    "ecg-jepa": "ECG-JEPA",
    "vqvae": "VQ-VAE",
}
BASELINES = {
    "majority_class": "majority class",
    "gradient_boosting_rr": "gradient boosting on RR features",
    "unadapted": "unadapted model",
    "random_init": "randomly initialised encoder",
    "scratch": "training from scratch",
    "raw_signal": "raw signal",
    "rr_features": "RR features",
    "first_30_seconds": "same network, first 30 s only",
    "interpolation": "linear interpolation",
    "two_stage": "two-stage classifier with a noise gate",
    "resnet1d": "ResNet1D from scratch",
    "resnet1d_hybrid": "ResNet1D with intervals and amplitudes",
    "hybrid": "with intervals and amplitudes",
    "waveform": "waveform only, without intervals and amplitudes",
    "intervals": "gradient boosting on intervals and amplitudes",
    "labels_10": "10 % of the labels",
    "labels_1": "1 % of the labels",
    "resnet1d_labels_10": "ResNet1D from scratch, 10 % of the labels",
    "resnet1d_labels_1": "ResNet1D from scratch, 1 % of the labels",
    "lead_ii": "lead II only",
    "before": "encoder before triplet training",
    "whitened": "encoder before triplet training, whitened",
    "pretrained_encoder_7_epochs": "pretrained NT-Xent encoder, fine-tuned for 7 epochs",
    "random_init_encoder_7_epochs": "randomly initialised NT-Xent encoder, trained for 7 epochs",
}
# Names in BASELINES of the same method with a part, data or training changed.
VARIANTS = {
    "first_30_seconds", "two_stage", "hybrid", "resnet1d_hybrid", "waveform", "labels_10", "labels_1",
    "resnet1d_labels_10", "resnet1d_labels_1", "lead_ii", "pretrained_encoder_7_epochs", "random_init_encoder_7_epochs",
}  # fmt: skip
DATABASES = {
    "mitdb": "MIT-BIH Arrhythmia Database",
    "sample": "excerpt of the MIT-BIH Arrhythmia Database",
    "svdb": "MIT-BIH Supraventricular Arrhythmia Database",
    "cinc2017": "PhysioNet/CinC Challenge 2017",
    "ptbxl": "PTB-XL",
    "ludb": "Lobachevsky University Database",
}
EXPERIMENTS = {
    "final_ds1_ds2": "Heartbeat classification, DS1 → DS2",
    "final_seed": "Heartbeat classification, seven test records",
    "final_records": "Heartbeat classification, configured records",
    "kfold": "Heartbeat classification, inter-patient k-fold",
    "adapted_ds1_ds2": "Patient-specific fine-tuning, DS1 → DS2",
    "adapted_records": "Patient-specific fine-tuning, configured records",
    "probe_ds1_ds2": "Heartbeat classification by linear probe, DS1 → DS2",
    "probe_records": "Heartbeat classification by linear probe, configured records",
    "kfold_rhythm": "Rhythm classification, k-fold cross-validation",
    "final_rhythm": "Rhythm classification, held-out fold",
    "pretrain": "Self-supervised pretraining",
    "fewshot_inter_patient": "Few labels, inter-patient split",
    "fewshot_intra_patient": "Few labels, intra-patient split (optimistic)",
    "fewshot_subsampling": "Few labels, repeated random sub-sampling",
    "probe_superclasses": "Diagnostic superclasses, linear probe",
    "finetune_superclasses": "Diagnostic superclasses, fine-tuning",
    "embed_superclasses": "Evaluation of frozen embeddings",
    "triplet_superclasses": "Evaluation of embeddings after triplet training",
}
TASKS = {  # by the kind of run
    "beats": "Heartbeats",
    "few_labels": "Few labels",
    "rhythm": "Rhythm",
    "superclasses": "Diagnostic superclasses",
    "embeddings": "Embeddings",
    **dict.fromkeys(("masked", "predictive", "quantized", "contrastive"), "Pretraining"),
}
USES = {"probe": "linear probe", "embed": "frozen", "triplet": "after triplet training"}  # of an encoder
PRETRAINED = re.compile(r"(?:pretrain_)?(.+?)_\d{8}T\d{6}Z")


def experiment_title(experiment: str, kind: str = "") -> str:
    """Name of an experiment; the same experiment of another kind of run may have a name of its own."""
    return EXPERIMENTS.get(f"{experiment}_{kind}") or EXPERIMENTS.get(experiment) or experiment.replace("_", " ")


def encoder_title(name: str) -> str:
    """Name of a pretrained encoder, given as a preset or as the run folder that holds it."""
    name = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    if run := PRETRAINED.fullmatch(name):
        return MODELS.get(run[1], run[1].replace("_", " "))
    return ENCODERS.get(name, name.replace("_", " "))


def baseline_title(name: str) -> str:
    """Name of a baseline, which may be another pretrained encoder, all of its leads or lead II alone."""
    if name in BASELINES:
        return BASELINES[name]
    encoder, suffix = (name.removesuffix("_lead_ii"), ", lead II only") if name.endswith("_lead_ii") else (name, "")
    return encoder_title(encoder) + suffix


def is_baseline(name: str) -> bool:
    """Return whether predictions of that name are a baseline, and not a variant of the model or another encoder."""
    return name in BASELINES and name not in VARIANTS


def role(name: str) -> str:
    """Role of predictions of that name in tables: "baseline" or "comparison"."""
    return "baseline" if is_baseline(name) else "comparison"


def predictor_title(name: str) -> str:
    """Name of what is compared with the model, with its role."""
    return f"{role(name)}: {baseline_title(name)}"


def model_title(environment: dict, config: dict) -> str:
    """Name of a run's model: of its encoder and how that is used, where there is one."""
    experiment, name = str(environment.get("experiment", "")), str(environment.get("model", "model"))
    options = config.get("model", {}).get("options", {})
    if weights := environment.get("weights") or options.get("weights"):
        encoder = encoder_title(str(weights))
        if options.get("random"):
            return f"{encoder} architecture, randomly initialised"
        use = experiment.partition("_")[0]
        if use == "fewshot":
            use = "probe" if config.get("finetuning", {}).get("objective") == "probe" else "finetune"
        return f"{encoder}, {USES.get(use, 'fine-tuned')}"
    if name == "contrastive" and (objective := options.get("objective")):
        return OBJECTIVES.get(str(objective), str(objective))
    return MODELS.get(name, name.replace("_", " "))


def row_title(baseline: str, scores: dict, model: dict) -> str:
    """A baseline's name, with its number of recordings where the model is scored on more."""
    count = scores.get("recordings")
    fewer = count is not None and count < model.get("recordings", count)
    return baseline_title(baseline) + (f", {count:,} recordings" if fewer else "")
