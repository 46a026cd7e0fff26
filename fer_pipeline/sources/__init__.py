"""Where images come from: imports, the web, a camera, the drawn sample."""
