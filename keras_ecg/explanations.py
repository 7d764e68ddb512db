"""What every score in a run's metrics.json means, in one line each; `*` stands for a class or a table."""

from fnmatch import fnmatchcase

EXPLANATIONS = {
    "format": "Version of the layout of metrics.json.",
    "bootstrap.resamples": "Bootstrap resamples over subjects behind every interval.",
    "bootstrap.seed": "Seed of the bootstrap.",
    "beats": "Annotated beats that are scored.",
    "records": "Recordings that are scored.",
    "subjects": "Different people among them.",
    "seeds": "Seeds of the trained models; a score is the mean over single models.",
    "seed": "Seed of one trained model.",
    "record": "Recording.",
    "fold": "Test fold of the cross-validation.",
    "class_counts.*": "Beats with this true class.",
    "class": "True class.",
    "accuracy": "Share of beats called rightly.",
    "balanced_accuracy": "Mean sensitivity over the classes that occur.",
    "macro_f1_nsvf": "Mean F1 of N, S, V and F; a class that neither occurs nor is predicted counts 0.",
    "macro_f1_five": "Mean F1 of N, S, V, F and Q; a class that neither occurs nor is predicted counts 0.",
    "macro_f1": "Mean F1 of the classes that occur in the truth.",
    "kappa": "Cohen's kappa: agreement beyond what chance gives.",
    "j_index": "Sum of sensitivity and positive predictivity of S and V, 0 to 4.",
    "jk_index": "kappa / 2 + j / 8 (Mar 2011, Mondejar-Guerra 2019); here kappa has all five classes.",
    "macro_auroc": "Mean area under the one-against-rest ROC curves of the classes that occur.",
    "recordings": "Recordings that are scored.",
    "ece": "Expected calibration error: mean gap between confidence and accuracy, 15 bins of the top label.",
    "classes.*.sensitivity": "Share of the class's beats that are found (recall).",
    "classes.*.positive_predictivity": "Share of the beats called so that are so (precision).",
    "classes.*.f1": "Harmonic mean of sensitivity and positive predictivity.",
    "classes.*.auroc": "Area under the ROC curve, the class against the rest.",
    "classes.*.average_precision": "Area under the precision-recall steps, the class against the rest.",
    "ec57.*.tp": "Beats of the class that are found, mean over seeds.",
    "ec57.*.fn": "Beats of the class that are missed, mean over seeds.",
    "ec57.*.fp": "Other beats called so, mean over seeds; for VEB without F and Q beats, for SVEB without Q beats.",
    "ec57.*.tn": "Other beats not called so, mean over seeds.",
    "ec57.*.sensitivity": "EC57 gross sensitivity TP / (TP + FN).",
    "ec57.*.positive_predictivity": "EC57 gross positive predictivity TP / (TP + FP).",
    "ec57.*.false_positive_rate": "EC57 false positive rate FP / (FP + TN).",
    "collapse.predicted_classes": "Classes that are ever predicted, the fewest over seeds.",
    "collapse.largest_share": "Share of beats that the most frequent prediction takes, the largest over seeds.",
    "collapse.constant": "Whether some seed gives every beat the same probabilities.",
    "collapse.collapsed": "Whether some seed calls every beat the same: no detector, whatever its accuracy.",
    "confusion.mean": "Beats of the true class (row) called the predicted class (column), mean over seeds.",
    "confusion.row_share": "The same as a share of the row.",
    "score": "Mean F1 of normal rhythm, atrial fibrillation and other rhythm (N, A, O), as the challenge scores.",
    "macro_f1_four": "Mean F1 of N, A, O and noisy.",
    "ece_before": "The calibration error before temperature scaling.",
    "temperature": "What the logits are divided by, set on training recordings that trained nothing else.",
    "calibration.*.count": "Predictions in the bin of confidence, all seeds, before or after temperature scaling.",
    "calibration.*.confidence": "Mean confidence of the bin.",
    "calibration.*.accuracy": "Share of right predictions in the bin.",
    "robustness.*": "The score on disturbed test recordings, by disturbance and strength.",
    "deletion.*": "What the answer's probability loses when stretches of the recording are deleted.",
    "kind": "What the run does, where it does not classify beats.",
    "alarms": "What is wrong with a pretraining that has learned nothing, or with an encoder that is no use.",
    "windows": "Held-out windows that are scored.",
    "masked_loss": "Mean squared error on masked patches of held-out windows.",
    "jepa_loss": "Smooth L1 between predicted and target tokens at hidden times of held-out windows.",
    "reconstruction_loss": "Mean squared error of held-out windows that are reconstructed from their codes.",
    "r2": "Share of the variance of held-out windows, each lead about its own mean, that the reconstruction has.",
    "codes": "Size of the codebook.",
    "usage": "Share of the codes that held-out windows use.",
    "perplexity": "How many codes, used equally, would be as spread as those of held-out windows.",
    "contrastive_loss": "Contrastive loss of held-out windows, mean over batches.",
    "log_n": "The contrastive loss at chance, of embeddings that are all equal: log of the candidates for a positive.",
    "relative_loss": "Held-out loss as a share of that of predicting each window's mean; of log N (contrastive).",
    "linear_auroc": "Mean over superclasses of AUROC, by logistic regression on the mean token.",
    "attentive_auroc": "The same by a classifier that learns which tokens to look at; the encoder stays frozen.",
    "neighbours_auroc": "The same by the share of the 20 nearest training recordings that have the class (cosine).",
    "classes.recordings": "Scored recordings with one superclass alone: those that are clustered and parted.",
    "classes.nmi": "Normalized mutual information of k-means' clusters and superclasses.",
    "classes.ari": "Adjusted Rand index of k-means' clusters and superclasses; 0 is chance.",
    "classes.silhouette": "Silhouette of the superclasses: how much nearer a recording is to its own, -1 to 1.",
    "classes.davies_bouldin": "Davies-Bouldin score of the superclasses: spread over distance; lower is better.",
    "classes.calinski_harabasz": "Calinski-Harabasz score of the superclasses: spread between over spread within.",
    "patients.count": "Patients with several recordings, in whatever fold.",
    "patients.*": "The same scores of these patients in place of superclasses: do embeddings show the patient?",
    "abnormal": "Scored beats that are not normal.",
    "auroc": "Area under the ROC curve of not normal against normal; ties count half.",
    "labels.*.accuracy": "Share of beats called rightly, normal or not, after learning from so many labels.",
    "labels.*.macro_f1": "Mean F1 of normal and not normal.",
    "labels.*.largest_share": "Share of beats that the most frequent call takes, the largest over draws.",
    "databases.*": "The same on the windows of one database.",
    "effective_rank": "Along how many directions held-out embeddings spread; 1 where they have collapsed.",
    "dimensions": "Width of the embeddings, the most that the effective rank can be.",
    "calibration.count": "Predictions in the bin of confidence, all seeds.",
    "calibration.confidence": "Mean confidence of the bin.",
    "calibration.accuracy": "Share of right predictions in the bin.",
}

STATISTICS = {
    "mean": "mean over seeds of the single models' scores",
    "sd": "standard deviation over seeds; none with one seed",
    "low": "lower end of the 95 % interval, bootstrap over subjects",
    "high": "upper end of the 95 % interval, bootstrap over subjects",
    "per_seed": "of each seed",
    "difference": "model minus baseline",
    "excludes_zero": "whether the 95 % interval of the difference, over the same resampled subjects, excludes 0",
    "lower_is_better": "that less of it is better",
    "fold_mean": "mean over folds",
    "fold_sd": "standard deviation over folds",
    "min": "lowest fold",
    "max": "highest fold",
}

SECTIONS = {
    "model": "the published model",
    "baselines": "predictors that any model has to beat",
    "differences": "the model against each baseline",
    "ensemble": "the mean probabilities of all seeds, as one predictor",
    "per_seed": "each single model",
    "per_record": "each recording alone",
    "without_record": "all recordings but one",
    "without_202": "all recordings but 202, whose subject also gave the training record 201",
    "without_q": "without the beats whose true class is Q",
    "folds": "each test fold alone",
    "fold_spread": "over the test folds",
}

# What the relative loss of a pretraining is a share of, by the kind of run.
REFERENCES = {
    "masked": "the loss of predicting each window's mean",
    "quantized": "the loss of predicting each window's mean",
    "predictive": "the loss of predicting each lead's mean target",
    "contrastive": "log N, the loss at chance",
}

# How tables name the baselines; another baseline shows its own name.
BASELINES = {
    "majority_class": "always N",
    "gradient_boosting_rr": "gradient boosting on RR",
    "unadapted": "not adapted",
    "random_init": "random encoder",
    "scratch": "training from scratch",
    "resnet1d": "ResNet1D from scratch",
    "before": "the encoder before",
    "whitened": "the encoder before, whitened",
    "hybrid": "with intervals and amplitudes",
    "waveform": "without intervals and amplitudes",
    "intervals": "intervals and amplitudes alone",
    "labels_10": "10 % of the labels",
    "labels_1": "1 % of the labels",
    "resnet1d_labels_10": "ResNet1D, 10 % of the labels",
    "resnet1d_labels_1": "ResNet1D, 1 % of the labels",
    "resnet1d_hybrid": "ResNet1D with intervals and amplitudes",
    "lead_ii": "lead II alone",
    "raw_signal": "raw signal",
    "rr_features": "RR features",
    "first_30_seconds": "the same network on the first 30 s",
    "interpolation": "straight lines between visible samples",
}


def title_of(baseline: str) -> str:
    return BASELINES.get(baseline, baseline.replace("_", " "))


def row_title(baseline: str, scores: dict, model: dict) -> str:
    """A baseline's name, and of how many recordings its scores are where the model's are of more."""
    count = scores.get("recordings")
    fewer = count is not None and count < model.get("recordings", count)
    return title_of(baseline) + (f", {count:,} recordings" if fewer else "")


def explain(name: str) -> str:
    """The line that explains a dotted name of metrics.json, whatever section it stands in.

    Raises:
        KeyError: nothing explains it.
    """
    base, _, statistic = name.rpartition(".")
    if statistic in STATISTICS and (line := _line(base)):
        return f"{line} ({STATISTICS[statistic]})"
    if line := _line(name):
        return line
    raise KeyError(name)


def _line(name: str) -> str | None:
    # The longest pattern says most: `ec57.*.sensitivity` before `sensitivity`.
    fitting = [key for key in EXPLANATIONS if fnmatchcase(name, key) or fnmatchcase(name, f"*.{key}")]
    return EXPLANATIONS[max(fitting, key=len)] if fitting else None
