"""The online learner (predict, learn), streaming LDA, pretrained weights."""
