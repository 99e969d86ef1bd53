"""Two meters of one board held against each other, and what nobody in a run could have noticed."""
