"""A neuron's states worked out by hand."""

# leak 1/2, threshold 1: every number is exact in binary.
# input, then u, s, e_theta, e_leak, e_bias after the step
BY_HAND = [
    (0.50, 0.500, 0, 0.0000, 0.00000, 1.00000),
    (0.75, 1.000, 1, 0.0000, 0.50000, 1.50000),  # u = theta exactly: it fires
    (1.00, 1.000, 1, -0.5000, 0.25000, 1.75000),  # reset took all: (1 - 1) / 2 + 1
    (0.00, 0.000, 0, -0.7500, 0.12500, 1.87500),
    (1.50, 1.500, 1, -0.3750, 0.06250, 1.93750),
    (0.00, 0.250, 0, -0.6875, 0.53125, 1.96875),  # (1.5 - 1) / 2: what is taken off decays too
    (-0.5, -0.375, 0, -0.34375, 0.515625, 1.984375),  # nothing holds the membrane above zero
]
