"""Refinement: whole objects, borders on image edges, no specks."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from jaxtyping import Bool, Float32, UInt8

from recon4d.core.scene import Flow, MotionMasks, Video
from recon4d.masks import Seen
from recon4d.masks.refine.edges import refine_edges, refine_frame, whole_objects
from recon4d.masks.refine.plain import refine_none

WIDTH, HEIGHT = 256, 192
NO_FLOW = Flow(
    np.zeros((0, 2), np.int64),
    np.zeros((0, 96, 128, 2), np.float16),
    np.zeros((0, 96, 128), np.uint8),
)
FRAMES = 3


def picture() -> tuple[UInt8[np.ndarray, "height width 3"], Bool[np.ndarray, "height width"]]:
    """A bluish figure with two arms before a reddish textured wall, and where it is."""
    rng = np.random.default_rng(0)
    figure = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.ellipse(figure, (128, 100), (30, 50), 0, 0, 360, 1, -1)
    cv2.line(figure, (128, 90), (70, 40), 1, 9)
    cv2.line(figure, (128, 90), (190, 60), 1, 9)
    wall = np.array((150, 60, 50)) + rng.normal(0, 12, (HEIGHT, WIDTH, 3))
    cloth = np.array((50, 70, 150)) + rng.normal(0, 12, (HEIGHT, WIDTH, 3))
    image = np.where(figure[..., None] > 0, cloth, wall)
    return np.clip(image, 0, 255).astype(np.uint8), figure > 0


def video_of(image: UInt8[np.ndarray, "height width 3"]) -> Video:
    return Video(
        images=np.repeat(image[None], FRAMES, axis=0),
        timestamps_s=np.arange(FRAMES) / 30,
        sources=tuple(str(i) for i in range(FRAMES)),
        source_size=(WIDTH, HEIGHT),
    )


def soft(is_dynamic: Bool[np.ndarray, "height width"]) -> Float32[np.ndarray, "rows cols"]:
    """What flow makes of a mask: a blurred and swollen probability at half size."""
    swollen = cv2.dilate(is_dynamic.astype(np.float32), np.ones((13, 13)))
    small = cv2.resize(swollen, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA)
    return np.asarray(0.96 * cv2.GaussianBlur(small, (0, 0), 2), np.float32)


def motion_of(probability: Float32[np.ndarray, "rows cols"]) -> MotionMasks:
    return MotionMasks(np.repeat(probability[None], FRAMES, axis=0))


def jaccard(a: Bool[np.ndarray, "..."], b: Bool[np.ndarray, "..."]) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_borders_move_to_the_edges_of_the_image() -> None:
    image, figure = picture()
    motion, video = motion_of(soft(figure)), video_of(image)
    rough, refined = (
        refine_none(Seen(video, NO_FLOW), motion).is_dynamic[0],
        refine_edges(video, motion)[0],
    )
    assert jaccard(rough, figure) < 0.75
    assert jaccard(refined, figure) > 0.93


def test_equal_frames_give_equal_masks_with_any_number_of_threads() -> None:
    image, figure = picture()
    motion, video = motion_of(soft(figure)), video_of(image)
    one, two = refine_edges(video, motion, threads=1), refine_edges(video, motion, threads=2)
    assert (one == two).all() and (one == one[0]).all()


def test_specks_vanish_and_objects_stay_whole() -> None:
    image, figure = picture()
    probability = soft(figure)
    probability[48:52, 60:64] = 0.1  # a hole in the body
    probability[5:7, 5:8] = 0.99  # a tiny speck
    probability[80:92, 4:20] = 0.6  # large, but nowhere sure
    refined = refine_edges(video_of(image), motion_of(probability))[0]
    assert refined[96:104, 120:128].all()
    assert not refined[:40, :40].any()
    assert not refined[150:, :50].any()


def test_sure_pixels_are_kept_whatever_their_colour() -> None:
    image, figure = picture()
    image = image.copy()
    image[60:76, 112:144] = image[10:26, 10:42]  # a patch on the body in the colour of the wall
    probability = soft(figure)
    probability[probability > 0.9] = 0.99
    refined = refine_edges(video_of(image), motion_of(probability))[0]
    assert refined[62:74, 116:140].all()


def test_colours_decide_only_between_the_probabilities_that_are_unsure() -> None:
    image, figure = picture()
    motion = motion_of(soft(figure))
    swollen, sharp = (
        refine_edges(video_of(image), replace(motion, unsure=unsure))[0]
        for unsure in ((0.05, 0.97), (0.4, 0.6))
    )
    assert jaccard(swollen, figure) > 0.93 and jaccard(sharp, figure) < 0.75


def test_small_pictures_keep_objects_that_look_like_what_is_behind() -> None:
    rng = np.random.default_rng(0)
    figure = np.zeros((96, 160), bool)
    figure[20:76, 60:100] = True
    image = np.array((150, 60, 50)) + rng.normal(0, 12, (96, 160, 3))
    image[20:40, 60:100] = (50, 70, 150)  # a head before a wall; all below is of its colour
    probability = np.where(figure, 0.95, 0.1).astype(np.float32)[::2, ::2]
    refined = refine_frame(image.clip(0, 255).astype(np.uint8), MotionMasks(probability[None]), 0)
    assert jaccard(refined, figure) > 0.7  # a band as wide as in a large picture leaves the head


def test_nothing_moving_stays_nothing() -> None:
    image, _ = picture()
    motion = motion_of(np.full((HEIGHT // 2, WIDTH // 2), 0.3, np.float32))
    assert not refine_edges(video_of(image), motion).any()
    assert not refine_none(Seen(video_of(image), NO_FLOW), motion).is_dynamic.any()


def test_everything_moving_stays_everything() -> None:
    image, _ = picture()
    motion = motion_of(np.full((HEIGHT // 2, WIDTH // 2), 0.99, np.float32))
    assert refine_edges(video_of(image), motion).all()


@pytest.mark.parametrize("gap", [2, 4])
def test_small_gaps_are_closed(gap: int) -> None:
    probability = np.zeros((60, 80), np.float32)
    probability[20:40, 10:30], probability[20:40, 30 + gap : 60] = 0.95, 0.95
    assert whole_objects(probability)[30, 10:60].all()
