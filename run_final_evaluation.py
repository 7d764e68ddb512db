"""Held-out evaluation: train on one side of a split, predict the other once, write a run folder with a report.

python run_final_evaluation.py --config configs/mitdb.yaml                   # DS1 -> DS2, three seeds
python run_final_evaluation.py --config configs/mitdb.yaml --split seed
python run_final_evaluation.py --config configs/cinc2017.yaml                # rhythms: one fold, with its weights
python run_final_evaluation.py --config configs/mitdb.yaml --train-records 101 106 208 --test-records 100 233
"""

import sys

from keras_ecg.cli import main

if __name__ == "__main__":
    main(["evaluate", *sys.argv[1:]])
