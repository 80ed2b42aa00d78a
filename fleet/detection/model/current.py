"""Which bundle serves by default, followed while the system runs.

The models folder names a current version (`fleet train` and `fleet model use` write it). Ingest, gateway and scorers
each hold a `CurrentModel` and look at it now and then: a new version is read and verified, tried, and only then used;
one that is damaged or cannot score is refused, and the old one goes on serving. A pinned version never changes.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from fleet.detection.model.bundle import CURRENT, ModelBundle, current_version, read_bundle
from fleet.errors import FleetError, ScorerUnavailableError

LOOK_INTERVAL_S = 1.0

logger = logging.getLogger(__name__)


class CurrentModel:
    """The bundle that a process serves, and the one that it should."""

    def __init__(self, models_folder: Path, wanted: str, settled: str) -> None:
        """Begin with the `settled` bundle: nobody has tried yet whether the current one can score."""
        self._folder, self._is_pinned = models_folder, wanted != CURRENT
        self._refused: set[str] = set()
        self.bundle = read_bundle(models_folder, settled)

    def newer(self) -> ModelBundle | None:
        """Return the bundle that is to serve instead, verified; None while there is none."""
        name = ""
        try:
            name = current_version(self._folder)
            if name == self.bundle.version or name in self._refused:
                return None
            return read_bundle(self._folder, name)
        except FleetError as error:
            self.refuse(name, error)
            return None

    def refuse(self, version: str, reason: Exception) -> None:
        """Note that a version cannot serve; it is not tried again."""
        if version not in self._refused:
            self._refused.add(version)
            logger.error("model_refused: %s", reason, extra={"version": version})

    async def follow(self, attempt: Callable[[ModelBundle], Awaitable[None]]) -> None:
        """Look for newer bundles for ever; one is adopted when `attempt`, which tries and then uses it, returns."""
        while not self._is_pinned:
            await asyncio.sleep(LOOK_INTERVAL_S)
            bundle = await asyncio.to_thread(self.newer)
            if bundle is None:
                continue
            try:
                await attempt(bundle)
            except ScorerUnavailableError as error:
                logger.warning("model_waits: %s", error, extra={"version": bundle.version})
            except FleetError as error:
                self.refuse(bundle.version, error)
            else:
                logger.info("model_in_use", extra={"version": bundle.version})
                self.bundle = bundle
