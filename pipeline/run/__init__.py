"""The stage graph as data, the artefact store, executors."""
