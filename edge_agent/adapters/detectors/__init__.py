"""Models that find defects: the catalogue of model folders, and the ONNX Runtime detector."""
