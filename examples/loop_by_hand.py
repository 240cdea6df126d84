"""The loop by hand, on event arrays of your own: predict, learn, and close each segment."""

import numpy as np
import torch

import streamstop as ss

SENSOR = ss.SensorSize(16, 16)
CLASSES = ("left", "right")
draw = np.random.default_rng(0)


def moving_bar(direction: str) -> np.ndarray:
    """Events of a vertical bar that crosses the sensor in 100 ms, in EVENT_DTYPE."""
    t = np.sort(draw.integers(0, 100_000, 2000))
    x = t * 16 // 100_000
    y, p = draw.integers(0, 16, t.size), draw.random(t.size) < 0.5
    return ss.make_events(t, x if direction == "right" else 15 - x, y, p)


learner = ss.build_learner(CLASSES, input_shape=(2, 16, 16), seed=0)
hits = []
for _ in range(40):
    label = int(draw.integers(2))
    events = moving_bar(CLASSES[label])
    learner.begin_segment()
    for one in ss.iter_bins(events, SENSOR, bin_us=10_000, height=16, width=16, origin_us=0):
        x = torch.log1p(torch.from_numpy(one.counts)[None].float())  # (1, 2, height, width)
        learner.predict(x, trace=True)  # first predict: log-probabilities of this bin ...
        learner.learn(label)  # ... then learn its label
    found = learner.predict_segment()  # by weights of the segment's beginning
    learner.end_segment()  # the weights move here
    hits.append(found.linear.argmax() == label)
    learner.update_lda(found.rates, label)  # the second readout learns from firing rates

print(f"linear readout, last 20 of 40 segments: {np.mean(hits[20:]):.2f}")
