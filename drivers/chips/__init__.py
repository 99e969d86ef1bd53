"""Register mathematics that several drivers share: raw counts to SI, what a configuration word means, chip limits."""
