"""How a model bundle comes about: data, training with calibration, evaluation beside simple baselines."""
