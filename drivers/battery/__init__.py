"""A battery gauge behind the power_supply class of the kernel."""
