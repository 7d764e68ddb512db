"""Patient adaptation: train on other patients, adapt to the first five minutes of each test record, score the rest.

python run_adaptation.py --config configs/mitdb.yaml                         # DS1 -> DS2, three seeds
python run_adaptation.py --config configs/mitdb.yaml --set adaptation.seconds=120
"""

from keras_ecg.errors import run_script
from keras_ecg.experiments import commands

if __name__ == "__main__":
    run_script(commands.adapt)
