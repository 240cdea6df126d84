"""Weights trained on some people go on adapting to another one, or stay as they are."""

import streamstop as ss
from streamstop.config.bundled import bundled_path


def stream(learner: ss.StopLearner, user: str, *, learns: bool) -> float:
    """Accuracy of one recording, each second predicted before it is learned."""
    path = str(bundled_path(f"recordings/gestures/simulated_{user}_lab.aedat4"))
    labels = path.replace(".aedat4", "_labels.csv")
    with ss.open_source(path, labels=labels, length_us=1_000_000) as source:
        evaluator = ss.PrequentialEvaluator(learner, source.labels, decision="lda", learns=learns)
        for one in ss.iter_bins(source, bin_us=100_000, height=32, width=32):
            evaluator.step(one)
        evaluator.close()
    return evaluator.accuracy()["segment"]


with ss.open_source(str(bundled_path("recordings/gestures"))) as source:
    learner = ss.build_learner(source.labels.classes, seed=0)
for user in ("user01", "user02"):
    stream(learner, user, learns=True)
learner.save("trained.safetensors")

for learns in (False, True):
    trained = ss.StopLearner.load("trained.safetensors")
    accuracy = stream(trained, "user03", learns=learns)
    print(f"user03, {'adapting' if learns else 'frozen':8} {accuracy:.3f}")
# One recording of a simulated person: an illustration, not a result. On more of them, five seeds,
# what adapts is mainly the readouts: docs/results/gestures.md.
