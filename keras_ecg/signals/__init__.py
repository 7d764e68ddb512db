"""Pure functions of arrays: filters, beats, rhythm, scalograms."""
