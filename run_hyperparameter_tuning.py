"""Hyperparameter search on held-out training subjects; writes a YAML file for the evaluations.

python run_hyperparameter_tuning.py --config configs/mitdb.yaml
python run_hyperparameter_tuning.py --config configs/mitdb.yaml --algorithm bayesian --max-trials 20
python run_final_evaluation.py --config configs/mitdb.yaml --config tuner_results/best.yaml
"""

import sys

from keras_ecg.cli import main

if __name__ == "__main__":
    main(["tune", *sys.argv[1:]])
