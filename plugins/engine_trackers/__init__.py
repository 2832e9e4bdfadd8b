"""Programs that keep or show what runs measured: TensorBoard, MLflow, Weights & Biases, Trackio."""
