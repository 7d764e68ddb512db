"""Classify the beats or the rhythm of a WFDB record; write a table, and annotations of the beats.

python predict.py sample_data/213                     # R peaks from its annotations
python predict.py sample_data/213 --peaks detect      # detected R peaks
python predict.py cinc2017/A00005 --task rhythm       # normal, atrial fibrillation, other, or too noisy to classify
"""

import sys

from keras_ecg.cli import main

if __name__ == "__main__":
    main(["predict", *sys.argv[1:]])
