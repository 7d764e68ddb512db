"""Studies, each readable top to bottom: tune, kfold, final, predict."""
