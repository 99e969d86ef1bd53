"""Strict YAML with line numbers, under the name by which bench and campaign files know it."""

from harness.io.yaml_lines import Document as Document
from harness.io.yaml_lines import Location as Location
from harness.io.yaml_lines import load_yaml as load_yaml
