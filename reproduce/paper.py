"""What the paper prints in its tables I to III and below its Fig. 5.

PSNR is in dB, SSIM in percent, in its own convention.

Source: Niu, "End-to-End JPEG Decoding and Artifacts Suppression Using Heterogeneous Residual
Convolutional Neural Network".
"""

from typing import NamedTuple


class Row(NamedTuple):
    """Scores at one quality: of plain JPEG, and of the paper's network."""

    jpeg_psnr: float
    psnr: float
    jpeg_ssim: float
    ssim: float


TABLE_1 = {
    10: Row(30.13, 31.79, 89.57, 92.02),
    30: Row(34.29, 35.70, 95.10, 96.13),
    50: Row(36.06, 37.19, 96.52, 97.19),
}
"""On 14,040 crops of 128x128 from DIV2K."""

TABLE_2 = {
    10: Row(27.19, 28.64, 87.32, 89.82),
    30: Row(31.00, 32.41, 94.21, 95.37),
    50: Row(32.87, 34.15, 96.03, 96.82),
}
"""On LIVE1."""

TABLE_2_SECONDS = {10: (2.81, 6.29), 30: (2.84, 6.27), 50: (2.79, 6.31)}
"""On LIVE1: a plain decoder on a CPU, the network on a GPU."""

FIGURE_5 = {
    "A": {
        10: Row(25.16, 28.20, 90.33, 95.12),
        30: Row(28.94, 31.93, 95.56, 97.73),
        50: Row(30.77, 33.87, 96.93, 98.39),
    },
    "B": {
        10: Row(23.63, 26.10, 87.50, 92.34),
        30: Row(27.39, 30.41, 94.60, 97.14),
        50: Row(29.48, 32.42, 96.41, 98.14),
    },
}
"""Two pictures that it calls typical, by quality."""

TRAINING = ("SGD", "< 12 h", "NVIDIA 2080")
"""How a network was trained, for how long and on what; it does not tell for how many steps."""

TABLE_3 = [
    ("HR-CNN, the paper's", 1.44, 2.50, 507_157),
    ("AR-CNN", 1.19, 3.1, 106_448),
    ("SA-DCT", 0.88, 1.88, None),
    ("L4", 1.31, 3.3, 71_920),
    ("MemNet", 1.68, 4.6, 2_905_421),
    ("TNRD", 1.38, 3.8, 26_645),
    ("DnCNN", 1.42, 3.9, 668_225),
    ("D-GAN", -0.48, -1.8, None),
    ("DA-CAR", 1.31, 3.2, 106_336),
    ("CAS-CNN", 1.67, 4.2, 5_144_000),
    ("SA-CAR", 1.39, 3.5, 131_392),
]
"""On LIVE1 at quality 10: gains of PSNR and SSIM, trainable parameters."""
