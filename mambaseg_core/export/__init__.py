"""Networks for other engines: files of ONNX with standard operators only, checked before they get their names."""
