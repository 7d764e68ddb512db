"""Inter-patient k-fold: each record is scored by a model trained on other subjects.

python run_kfold_evaluation.py --config configs/mitdb.yaml                   # five folds over the 44 non-paced records
python run_kfold_evaluation.py --config configs/mitdb.yaml --folds 10
python run_kfold_evaluation.py --config configs/cinc2017.yaml                # rhythm classification
"""

import sys

from keras_ecg.cli import main

if __name__ == "__main__":
    main(["kfold", *sys.argv[1:]])
