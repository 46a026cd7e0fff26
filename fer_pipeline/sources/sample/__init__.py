"""A gallery of drawn faces with known mouths and landmarks, and the junk that a web crawl brings along."""

from .drawing import LABELS, Face, draw_photo, random_face
from .gallery import draw_gallery

__all__ = ["LABELS", "Face", "draw_gallery", "draw_photo", "random_face"]
