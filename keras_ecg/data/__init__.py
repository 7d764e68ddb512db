"""From recordings to a stream of examples: HDF5, TFRecord, tf.data, statistics, splits."""
