"""NVIDIA GPUs by their own sensors: through the library NVML (driver `nvml`) and the tool nvidia-smi (`nvidia-smi`)."""
