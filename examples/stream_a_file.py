"""Stream one labelled recording through a learner, and print its score beside the baselines.

python examples/stream_a_file.py [RECORDING LABELS.csv]; without arguments a bundled, simulated one.
"""

import sys

import streamstop as ss
from streamstop.config.bundled import bundled_path

RECORDING = "recordings/gestures/simulated_user01_lab"

if len(sys.argv) == 3:
    recording, labels = sys.argv[1:]
else:
    recording, labels = (str(bundled_path(RECORDING + end)) for end in (".aedat4", "_labels.csv"))

with ss.open_source(recording, labels=labels, length_us=500_000) as source:
    print(f"{source.format}, {source.sensor}, simulated: {source.simulated}")
    learner = ss.build_learner(source.labels.classes, seed=0)
    evaluator = ss.PrequentialEvaluator(learner, source.labels)
    for one in ss.iter_bins(source, bin_us=50_000, height=32, width=32):
        evaluator.step(one)  # predict, score, then learn
    evaluator.close()

print(f"{evaluator.segments} segments")
for name, accuracy in sorted(evaluator.accuracies().items(), key=lambda pair: -(pair[1] or 0)):
    print(f"{name:24} {accuracy:.3f}")
# In one recording a gesture lasts several segments, so that "no_change", which repeats the last
# label, is hard to beat. A folder of recordings is shuffled: see the README.
