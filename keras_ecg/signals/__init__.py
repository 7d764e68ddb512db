"""Signal processing with NumPy and SciPy: filters, QRS detection, beats, RR features, intervals, scalograms."""
