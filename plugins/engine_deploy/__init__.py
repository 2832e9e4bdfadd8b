"""A trained system for elsewhere: an ONNX file, smaller weights, and what each of them costs in error and time."""
