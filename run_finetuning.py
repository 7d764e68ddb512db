"""Learn from few labels on a pretrained encoder, with its controls, over many draws of labels.

python run_finetuning.py --weights FOLDER                                # patients apart: DS1 -> DS2, 10 to 100 labels
python run_finetuning.py --weights FOLDER --protocol random --labels 10 100     # random beats: for comparison only
python run_finetuning.py --weights FOLDER --protocol subsampling --labels 100 0 --objective finetune
python run_finetuning.py --config configs/ptbxl_probe.yaml --weights FOLDER --objective embed     # or probe, triplet
"""

from keras_ecg.errors import run_script
from keras_ecg.experiments import commands

if __name__ == "__main__":
    run_script(commands.finetune)
