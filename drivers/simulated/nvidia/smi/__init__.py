"""The simulated machine's nvidia-smi: rows, tables and documents as the real program prints them."""
