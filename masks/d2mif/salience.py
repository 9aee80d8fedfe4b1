"""What the appearance of single images says of objects: log-odds of a salient-object network, in bounds.

Motion knows which things move, appearance knows where things end and what belongs together. A salient object need not
move, and most movers of a crowd are not salient: hence salience alone never outweighs sure evidence of motion or rest,
and what is not salient is hardly an argument against motion.

Numbers here that name no source were set by hand.
"""

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from recon4d.networks.u2net import salience

MOST_SALIENT = 0.99
"""Quantile of an image above which is what is most salient in it."""
LEAST_LOG_ODDS = 3.0
"""What is most salient in an image gets at least these: the network is least sure of small and of hidden objects."""
AGAINST = -1.5
"""Log-odds of whatever is not salient: many movers are none of what a viewer looks at first ..."""
IN_FAVOUR = 5.0
"""... and of what is surely salient."""


def salient_log_odds(
    image: UInt8[np.ndarray, "height width 3"], rows: int, cols: int
) -> Float32[np.ndarray, "{rows} {cols}"]:
    """Log-odds of motion from the appearance of an image alone, at samples that cover it evenly."""
    found = salience(image)
    found += max(0.0, LEAST_LOG_ODDS - float(np.quantile(found, MOST_SALIENT)))
    resized = cv2.resize(found, (cols, rows), interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.clip(resized, AGAINST, IN_FAVOUR), np.float32)
