"""Patient-wise k-fold: every record scored by a model that has seen no beat of its subject.

python run_kfold_evaluation.py --config configs/mitdb.yaml                   # five folds over the 44 non-paced records
python run_kfold_evaluation.py --config configs/mitdb.yaml --folds 10
python run_kfold_evaluation.py --config configs/cinc2017.yaml                # rhythms of whole recordings
"""

from keras_ecg.errors import run_script
from keras_ecg.experiments import commands

if __name__ == "__main__":
    run_script(commands.kfold)
