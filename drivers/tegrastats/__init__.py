"""The lines that tegrastats prints on a Jetson."""
