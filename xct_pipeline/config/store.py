"""``[store]``: how images are kept on the disk."""

from __future__ import annotations

from typing import Literal

from xct_pipeline.config.section import Section


class StoreSettings(Section):
    """How the images of a run are kept."""

    precision: Literal["noise", "float32"] = "noise"
    """Digits that noise leaves in volumes (steps of at most a quarter of it, adding 0.26 % to it), or all of them."""

    @property
    def noise_share(self) -> float | None:
        """Largest step that values are rounded to, as a share of their noise; None where they are not rounded."""
        return 0.25 if self.precision == "noise" else None
