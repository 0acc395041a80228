"""Training and evaluation. `config`, `metrics`, `evaluation` and `report` need no Lightning; `module` and `run` do."""
