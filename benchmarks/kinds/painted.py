"""Pictures that no photograph of the material shows: cars, leaves, water, and figures with thin parts.

Numbers here were set by hand while looking at what they draw.
"""

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

LEAF_PX = 384
"""Side of the picture of a bush."""
WATER_PX = 512
"""Side of the picture of water."""
FIGURE_PX = (420, 300)
"""Rows and columns of the picture of a thin figure."""

Painted = UInt8[np.ndarray, "rows cols 3"]
Opacity = Float32[np.ndarray, "rows cols"]


def car_faces(rng: np.random.Generator) -> tuple[list[Painted], list[Painted]]:
    """Front, roof and side of the body of a car, and of its cabin."""
    colour = rng.uniform(30, 220, 3)
    glass = rng.uniform(20, 70) * np.array([0.9, 1.0, 1.15])
    side, front, roof = (_grained(rng, colour, shape) for shape in ((80, 240), (80, 120), (96, 96)))
    side[66:] = (0.4 * colour).astype(np.uint8)
    cv2.line(side, (0, 30), (240, 30), (0.7 * colour).tolist(), 2)
    cv2.line(side, (118, 0), (118, 64), (0.6 * colour).tolist(), 2)
    for middle in (50, 190):
        cv2.circle(side, (middle, 62), 18, (25, 25, 28), -1, cv2.LINE_AA)
        cv2.circle(side, (middle, 62), 9, (150, 150, 155), -1, cv2.LINE_AA)
    cv2.rectangle(front, (30, 36), (90, 56), (40, 40, 42), -1)
    for left in (6, 92):
        cv2.rectangle(front, (left, 30), (left + 22, 44), (235, 235, 215), -1)
    cabin, screen = (_grained(rng, colour, shape) for shape in ((60, 160), (60, 100)))
    for left, right in ((8, 76), (84, 152)):
        cv2.rectangle(cabin, (left, 8), (right, 52), glass.tolist(), -1)
    cv2.rectangle(screen, (6, 6), (94, 54), glass.tolist(), -1)
    return [front, roof, side], [screen, roof, cabin]


def leaves(rng: np.random.Generator) -> tuple[Painted, Opacity]:
    """A bush: leaves upon leaves in shades of one green, with gaps at its border."""
    picture = np.zeros((LEAF_PX, LEAF_PX, 3), np.uint8)
    alpha = np.zeros((LEAF_PX, LEAF_PX), np.uint8)
    green = rng.uniform((40, 90, 20), (110, 150, 60))
    for _ in range(900):
        angle, radius = rng.uniform(0, 2 * np.pi), 0.46 * np.sqrt(rng.uniform(0, 1))
        at = 0.5 + radius * np.array([np.cos(angle), np.sin(angle)])
        middle = (at * LEAF_PX).astype(int).tolist()
        size = rng.uniform((4, 2), (14, 7)).astype(int).tolist()
        turn = float(rng.uniform(0, 180))
        shade = np.clip(green * rng.uniform(0.35, 1.4), 0, 255).tolist()
        cv2.ellipse(picture, middle, size, turn, 0, 360, shade, -1, cv2.LINE_AA)
        cv2.ellipse(alpha, middle, size, turn, 0, 360, 255, -1, cv2.LINE_AA)
    return picture, alpha.astype(np.float32) / 255


def water(rng: np.random.Generator) -> Painted:
    """Ripples of all sizes, longer across than along."""
    base = rng.uniform((20, 50, 70), (80, 120, 140))
    light = np.zeros((WATER_PX, WATER_PX), np.float32)
    for rows in (12, 40, 110):
        coarse = rng.normal(0, 1, (rows, rows // 4)).astype(np.float32)
        light += cv2.resize(coarse, (WATER_PX, WATER_PX), interpolation=cv2.INTER_CUBIC) / 3
    return np.asarray(np.clip(base * (1 + 0.6 * light[..., None]), 0, 255), np.uint8)


def thin_figure(rng: np.random.Generator) -> tuple[Painted, Opacity]:
    """A bicycle, a lanky figure, or a parasol: nothing of it is thicker than a twentieth of its height."""
    rows, cols = FIGURE_PX
    alpha = np.zeros((rows, cols), np.uint8)
    draw = (_bicycle, _lanky, _parasol)[int(rng.integers(3))]
    draw(alpha, rng)
    colour = rng.uniform(20, 230, 3)
    return _grained(rng, colour, (rows, cols)), alpha.astype(np.float32) / 255


def _grained(rng: np.random.Generator, colour: np.ndarray, shape: tuple[int, int]) -> Painted:
    grain = rng.normal(0, 5, (*shape, 1))
    shade = np.linspace(1.1, 0.85, shape[0])[:, None, None]
    return np.ascontiguousarray(np.clip(colour * shade + grain, 0, 255).astype(np.uint8))


def _bicycle(alpha: UInt8[np.ndarray, "rows cols"], rng: np.random.Generator) -> None:
    wheels, hub = ((75, 330), (225, 330)), (140, 330)
    for wheel in wheels:
        cv2.circle(alpha, wheel, 66, 255, 7, cv2.LINE_AA)
        for angle in np.arange(0, np.pi, np.pi / 4):
            way = 62 * np.array([np.cos(angle), np.sin(angle)])
            ends = [(np.array(wheel) + sign * way).astype(int).tolist() for sign in (-1, 1)]
            cv2.line(alpha, ends[0], ends[1], 255, 2, cv2.LINE_AA)
    saddle, bar = (120, 215), (200, 205)
    for a, b in ((wheels[0], saddle), (saddle, hub), (hub, bar), (saddle, bar), (bar, wheels[1])):
        cv2.line(alpha, a, b, 255, 8, cv2.LINE_AA)
    cv2.line(alpha, (95, 212), (145, 212), 255, 12, cv2.LINE_AA)
    cv2.line(alpha, bar, (215, 180), 255, 8, cv2.LINE_AA)


def _lanky(alpha: UInt8[np.ndarray, "rows cols"], rng: np.random.Generator) -> None:
    hip, neck, thick = np.array([150, 220]), np.array([150, 80]), int(rng.integers(8, 16))
    cv2.line(alpha, neck.tolist(), hip.tolist(), 255, thick + 5, cv2.LINE_AA)
    cv2.circle(alpha, (150, 50), 27, 255, -1, cv2.LINE_AA)
    for start, length in ((hip, 95), (neck + np.array([0, 15]), 75)):
        for side in (-1, 1):
            angle = side * rng.uniform(0.15, 0.7)
            joint = start + length * np.array([np.sin(angle), np.cos(angle)])
            angle *= rng.uniform(-0.3, 0.6)
            end = joint + length * np.array([np.sin(angle), np.cos(angle)])
            points = np.array([start, joint, end], np.int32)
            cv2.polylines(alpha, [points], False, 255, thick, cv2.LINE_AA)


def _parasol(alpha: UInt8[np.ndarray, "rows cols"], rng: np.random.Generator) -> None:
    cv2.line(alpha, (150, 30), (150, 415), 255, int(rng.integers(7, 14)), cv2.LINE_AA)
    cv2.ellipse(
        alpha, (150, 90), (int(rng.integers(70, 140)), 60), 0, 180, 360, 255, 9, cv2.LINE_AA
    )
    for end in ((60, 90), (105, 38), (195, 38), (240, 90)):
        cv2.line(alpha, (150, 90), end, 255, 5, cv2.LINE_AA)
