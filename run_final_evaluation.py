"""Held-out evaluation: train on one side of a split, predict the other once, write a run folder with its report.

python run_final_evaluation.py --config configs/mitdb.yaml                   # DS1 -> DS2, three seeds
python run_final_evaluation.py --config configs/mitdb.yaml --split seed
python run_final_evaluation.py --config configs/cinc2017.yaml                # rhythms: one fold, with its weights
python run_final_evaluation.py --config configs/mitdb.yaml --train-records 101 106 208 --test-records 100 233
"""

from keras_ecg.errors import run_script
from keras_ecg.experiments import commands

if __name__ == "__main__":
    run_script(commands.final)
