"""What is handed out, held against the rules of where it is handed out. Runs in an environment of its own: `make artefacts`."""
