"""How well the learner learns: accuracy, rules, changing streams, simulated data sets."""
