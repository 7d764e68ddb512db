"""Classifies the beats of a WFDB record with the pretrained classifier: out come a WFDB annotation file and a CSV.

python predict.py sample_data/213                     # peaks from its annotations
python predict.py sample_data/213 --peaks detect      # R peaks that are detected
python predict.py cinc2017/A00005 --task rhythm       # normal, atrial fibrillation, other, or too noisy to classify
"""

from keras_ecg.errors import run_script
from keras_ecg.experiments import commands

if __name__ == "__main__":
    run_script(commands.predict)
