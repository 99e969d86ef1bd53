"""tegrastats: the tool of NVIDIA's Jetson modules that prints their power rails, one line an interval."""
