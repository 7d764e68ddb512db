"""Pure functions of arrays: filters, beats, rhythm, intervals, scalograms."""
