"""Base of Sigma and RSGMamba: one encoder for both images, one fusion per stage, a decoder."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from mambaseg_core.models.inputs import complete
from mambaseg_core.models.layers import resize, to_channels_first
from mambaseg_core.models.rgbx.encoder import SiameseEncoder
from mambaseg_core.preprocessing import Preprocessing


class SiameseNetwork(nn.Module):
    """Semantic segmentation of an image and a second image of the same view.

    Args:
        name: Name of the preset.
        num_classes: K, classes of the head.
        image_size: (height, width) that the network was made for, pixels; any other of at least 4x4 is accepted too.
        encoder: The encoder of both inputs.
        fusions: The fusion of each stage, from two [B, H_i, W_i, C_i] to one; `_fuse` calls them.
        head: The decoder: [B, H_i, W_i, C_i] of all stages -> [B, H', W', K].

    Attributes:
        in_channels: Channels of each input; repeat a single channel.
        bins: Channels of the second input, the same number.
        any_size: True.
        preprocessing: As of `MambaSeg`.
    """

    any_size = True
    preprocessing: Preprocessing | None = None

    def __init__(
        self,
        *,
        name: str,
        num_classes: int,
        image_size: tuple[int, int],
        encoder: SiameseEncoder,
        fusions: Sequence[nn.Module],
        head: nn.Module,
    ) -> None:
        super().__init__()
        self.name = name
        self.num_classes = num_classes
        self.image_size = image_size
        self.in_channels = self.bins = encoder.in_channels
        self.encoder = encoder
        self.fusions = nn.ModuleList(fusions)
        self.head = head

    def forward(self, image: Tensor | None, second: Tensor | None) -> Tensor:
        """Return the logits. A missing input is None, which is the same as zeros.

        Args:
            image: [B, in_channels, H, W] or None.
            second: [B, in_channels, H, W] or None.

        Returns:
            Logits [B, num_classes, H, W].

        Raises:
            ValueError: Both are missing, or an input has another shape than the model expects.
        """
        image, second = complete(self, image, second, least=4)
        return self._segment(self._fuse(image, second), image)

    def features(self, image: Tensor | None, second: Tensor | None) -> list[Tensor]:
        """Return the fused features of all stages, as the head takes them; arguments and errors as for `forward`.

        Returns:
            [B, H_i, W_i, C_i] of stage i, finest first; H_0 = H // 4, then halved and rounded up.
        """
        return self._fuse(*complete(self, image, second, least=4))

    @abstractmethod
    def _fuse(self, image: Tensor, second: Tensor) -> list[Tensor]:
        """Return the `features` of complete inputs."""

    def _segment(self, features: list[Tensor], image: Tensor) -> Tensor:
        """Return logits of the image's size."""
        return to_channels_first(resize(self.head(features), (image.shape[2], image.shape[3])))
