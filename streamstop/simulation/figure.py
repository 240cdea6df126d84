"""A figure of capsules: from joints to an anti-aliased picture.

Guarantees:

- The same picture for the same joints on every machine (only basic arithmetic and square roots
  after the joints are put on a grid).
- Edges soft by about a pixel, as a lens makes them, so that slow movement gives smooth changes of
  luminance.

Does not:

- Model anatomy or perspective.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

EDGE_PX = 1.6
"""Width over which a capsule's edge fades into the background."""

HEAD, HIP, R_SHOULDER, R_ELBOW, R_WRIST, L_SHOULDER, L_ELBOW, L_WRIST = range(8)


class Pose(NamedTuple):
    """The positions of the figure's joints.

    Attributes
    ----------
    joints
        Shape (8, 2), columns x (to the right) and y (down) in pixels, rows named above. The
        figure faces the camera, so its right arm is on the left of the picture.
    nearness
        Shape (2,), how near the right and the left hand are: 1 is beside the body, more is
        nearer and larger. The nearer arm is painted last.
    """

    joints: Floats
    nearness: Floats

    def blend(self, other: Pose, fraction: float) -> Pose:
        """The pose that is `fraction` of the way to `other`, joint by joint."""
        joints = self.joints + fraction * (other.joints - self.joints)
        return Pose(joints, self.nearness + fraction * (other.nearness - self.nearness))


class Look(NamedTuple):
    """The figure's appearance: radii in pixels, reflectances from 0 to 1.

    Attributes
    ----------
    texture
        Shape (5, 12), relative brightness along torso, right and left upper arm, right and left
        forearm; it moves with them.
    backdrop
        Shape (height, width), the picture behind the figure.
    """

    head_px: float
    torso_px: float
    limb_px: float
    skin: float
    hair: float
    cloth: float
    texture: Floats
    backdrop: Floats


def bend_arm(
    shoulder: tuple[float, float],
    target: tuple[float, float],
    upper: float,
    fore: float,
    bend: float,
) -> tuple[Floats, Floats]:
    """Elbow and wrist of an arm that reaches for `target`; it stops where it is fully stretched.

    `bend` is 1 where the elbow lies clockwise of the line from shoulder to wrist as the camera sees
    it, -1 where it lies on the other side.
    """
    start = np.array(shoulder)
    reach = np.array(target) - start
    distance = float(np.sqrt(reach[0] ** 2 + reach[1] ** 2))
    along = reach / distance if distance > 1e-9 else np.array([0.0, 1.0])
    distance = min(max(distance, abs(upper - fore) + 1.0), upper + fore - 0.2)
    forward = (upper**2 - fore**2 + distance**2) / (2 * distance)
    aside = float(np.sqrt(max(upper**2 - forward**2, 0.0)))
    across = np.array([-along[1], along[0]]) * bend
    return start + forward * along + aside * across, start + distance * along


def paint_figure(pose: Pose, look: Look) -> Floats:
    """Reflectance of the scene, with the shape of `look.backdrop`."""
    joints = np.round(pose.joints * 4096.0) / 4096.0
    canvas = look.backdrop.copy()
    head, hip = joints[HEAD], joints[HIP]
    neck = 0.5 * (joints[R_SHOULDER] + joints[L_SHOULDER])
    torso, limb = look.torso_px, look.limb_px
    chest = neck + np.array([0.0, 0.75 * torso])
    _paint(canvas, neck, head, 0.45 * look.head_px, 0.45 * look.head_px, look.skin, None)
    _paint(canvas, chest, hip, torso, 0.9 * torso, look.cloth, look.texture[0])
    _paint(canvas, joints[R_SHOULDER], joints[L_SHOULDER], limb, limb, look.cloth, None)
    crown = head - np.array([0.0, 0.45 * look.head_px])
    _paint(canvas, crown, crown, look.head_px, look.head_px, look.hair, None)
    chin = head + np.array([0.0, 0.4 * look.head_px])
    _paint(canvas, head, chin, 0.88 * look.head_px, 0.72 * look.head_px, look.skin, None)
    arms = [(R_SHOULDER, R_ELBOW, R_WRIST, 0), (L_SHOULDER, L_ELBOW, L_WRIST, 1)]
    for shoulder, elbow, wrist, which in sorted(arms, key=lambda arm: pose.nearness[arm[3]]):
        near = round(float(pose.nearness[which]), 4)
        a, b, c = joints[shoulder], joints[elbow], joints[wrist]
        texture = look.texture
        _paint(canvas, a, b, limb, 0.9 * limb, look.cloth, texture[1 + which])
        _paint(canvas, b, c, 0.85 * limb, 0.7 * limb * near, look.skin, texture[3 + which])
        palm = c + 0.12 * (c - b)
        _paint(canvas, palm, palm, 0.95 * limb * near, 0.95 * limb * near, look.skin, None)
    return canvas


def _paint(
    canvas: Floats,
    a: Floats,
    b: Floats,
    radius_a: float,
    radius_b: float,
    value: float,
    texture: Floats | None,
) -> None:
    """Paint one capsule from `a` to `b` over the canvas; `texture` runs along it."""
    height, width = canvas.shape
    reach = max(radius_a, radius_b) + EDGE_PX
    left = max(int(min(a[0], b[0]) - reach), 0)
    right = min(int(max(a[0], b[0]) + reach) + 2, width)
    top = max(int(min(a[1], b[1]) - reach), 0)
    bottom = min(int(max(a[1], b[1]) + reach) + 2, height)
    if left >= right or top >= bottom:
        return
    x = np.arange(left, right, dtype=np.float64)[None, :] - a[0]
    y = np.arange(top, bottom, dtype=np.float64)[:, None] - a[1]
    dx, dy = float(b[0] - a[0]), float(b[1] - a[1])
    squared = dx * dx + dy * dy
    if squared > 1e-12:
        along = np.clip((x * dx + y * dy) / squared, 0.0, 1.0)
    else:
        along = np.zeros((y.shape[0], x.shape[1]))
    off_x, off_y = x - along * dx, y - along * dy
    distance = np.sqrt(off_x * off_x + off_y * off_y) - radius_a - (radius_b - radius_a) * along
    cover = np.clip(0.5 - distance / EDGE_PX, 0.0, 1.0)
    colour: Floats | float = value
    if texture is not None:
        place = along * (len(texture) - 1)
        lower = np.minimum(place.astype(np.int64), len(texture) - 2)
        fraction = place - lower
        colour = value * (texture[lower] * (1.0 - fraction) + texture[lower + 1] * fraction)
    patch = canvas[top:bottom, left:right]
    patch += cover * (colour - patch)
