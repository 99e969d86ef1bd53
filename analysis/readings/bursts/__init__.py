"""Samples that came in bursts without a number of their own, and where on the device's clock they belong."""
