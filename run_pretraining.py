"""Pretrain an encoder on unlabelled windows: masked autoencoder or contrastive, with alarms where it learns nothing.

python create_window_tfrecords.py --config configs/pretrain_config.yaml      # the windows, once
python run_pretraining.py                                                    # masked autoencoder
python run_pretraining.py --model contrastive                                # NT-Xent
python run_pretraining.py --model contrastive --set model.options.objective=cmsc
"""

from keras_ecg.errors import run_script
from keras_ecg.experiments import commands

if __name__ == "__main__":
    run_script(commands.pretrain)
