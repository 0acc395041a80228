"""Scores, reports and predictions of a trained model."""
