"""Searches hyperparameters on held-out training subjects, and writes a YAML that the evaluations take.

python run_hyperparameter_tuning.py --config configs/mitdb.yaml
python run_hyperparameter_tuning.py --config configs/mitdb.yaml --algorithm bayesian --max-trials 20
python run_final_evaluation.py --config configs/mitdb.yaml --config tuner_results/best.yaml
"""

from keras_ecg.errors import run_script
from keras_ecg.experiments import commands

if __name__ == "__main__":
    run_script(commands.tune)
