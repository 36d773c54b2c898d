"""Our own demonstrations: recorded, generated, stored, bundled, summarised."""
