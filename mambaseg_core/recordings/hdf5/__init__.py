"""Recordings in HDF5: one way to open and search such files, and a file a layout."""
