"""The edges: broker, ingest, engine, deadlines, publishing, files and the command line."""
