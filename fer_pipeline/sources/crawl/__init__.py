"""Photos from search engines, lists of URLs, web pages and the embedded gallery, with where each came from."""
