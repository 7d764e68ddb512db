"""Pretrain an encoder on unlabelled windows, with alarms where it collapses.

python create_window_tfrecords.py --config configs/pretrain_config.yaml      # the windows, once
python run_pretraining.py                                                    # masked autoencoder
python run_pretraining.py --model contrastive                                # NT-Xent
python run_pretraining.py --model contrastive --set model.options.objective=cmsc
"""

import sys

from keras_ecg.cli import main

if __name__ == "__main__":
    main(["pretrain", *sys.argv[1:]])
