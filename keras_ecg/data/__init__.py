"""Data pipeline from recordings to batches: HDF5, TFRecord, tf.data, statistics, splits."""
