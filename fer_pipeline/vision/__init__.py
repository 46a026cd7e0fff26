"""From an image file to a crop: decoding, faces, landmarks, mouth measures."""
