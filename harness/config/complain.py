"""Words for what is wrong with a YAML file, under the name by which bench and campaign files know them."""

from harness.io.complain import did_you_mean as did_you_mean
from harness.io.complain import each_once as each_once
from harness.io.complain import validated as validated
