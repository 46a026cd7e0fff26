"""What the tests share: drawn pictures, servers on loopback, a browser, processes that are killed."""
