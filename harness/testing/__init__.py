"""Public test kit for driver authors."""
