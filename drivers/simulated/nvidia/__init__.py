"""A simulated machine with NVIDIA GPUs: a libnvidia-ml.so.1 in C and an nvidia-smi over one model of the sensors.

Both sit below the shipped drivers and below other people's tools alike. Start one by hand, with a load that plays until
it is ended:

    python -m drivers.simulated.nvidia FOLDER --gpu a100 --load square:70,300,1.0

It prints the two paths to put into LD_LIBRARY_PATH and PATH. This package imports nothing, so that the program starts
quickly: see `machine` for the way in from Python.
"""
