"""The detector: pixels and metres per pixel in, oriented boxes out. Knows no CRS, no date and no file format."""

from models.detector import CLASSES, SUBTYPES, Detections, Detector, load

__all__ = ["CLASSES", "SUBTYPES", "Detections", "Detector", "load"]
