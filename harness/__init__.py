"""The harness: it plans campaigns, runs boards and meters, and keeps what was measured."""
