"""A trained detector on disk: network, scaling, calibration and feature order, versioned, in one folder.

    models/<version>/manifest.json   everything but the network, and the network's hash
    models/<version>/network.pb      the network and its weights, a frozen TensorFlow graph (GraphDef)
    models/current                   the version that serves by default, one line of text

A version is the time of training and the first digits of its content's hash, so a folder that was edited by hand no
longer fits its own name and is refused. `fleet.detection.model.network` loads the network of a bundle,
`fleet.detection.verdicts` takes thresholds from it; `training` writes it. TensorFlow is not needed to read one. A graph
is a program: whoever may write to the folder says what scorers run.
"""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from fleet.detection.calibration import Calibration
from fleet.detection.features import FeaturePlan
from fleet.detection.model.expectation import possible_values
from fleet.errors import ModelBundleError, OutdatedBundleError, UnknownModelVersionError
from fleet.events.channels import ChannelSpec, checked

Float32s: TypeAlias = npt.NDArray[np.float32]
Floats: TypeAlias = npt.NDArray[np.float64]

FORMAT: Final = 6
CURRENT: Final = "current"
MANIFEST_NAME: Final = "manifest.json"
NETWORK_NAME: Final = "network.pb"
_VERSION_PATTERN: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]{0,99}")


class _Format(msgspec.Struct):
    """What is read first of a manifest: other formats have other fields."""

    format: int


class _Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`manifest.json` as it stands on disk; `version` is empty while the content is hashed."""

    format: int
    version: str
    trained_at: str
    spec: ChannelSpec
    features: tuple[str, ...]
    threshold: Annotated[float, msgspec.Meta(gt=0)]
    calibration_rarity: tuple[float, ...]
    calibration_error: tuple[tuple[float, ...], ...]
    calibration_steepness: tuple[float, ...]
    metrics: dict[str, float]
    network_sha256: str


@dataclass(frozen=True)
class ModelBundle:
    """One version of the detector, read and verified (K features, J of them judged)."""

    version: str
    folder: Path
    trained_at: str
    plan: FeaturePlan = field(repr=False)
    threshold: float
    """Reconstruction errors above it are anomalies."""
    calibration: Calibration = field(repr=False)
    metrics: Mapping[str, float]
    """What training measured, for people to read."""
    network_sha256: str

    @property
    def network_path(self) -> Path:
        """The file of the network."""
        return self.folder / NETWORK_NAME

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features."""
        return self.plan.names

    @property
    def judged(self) -> int:
        """J, the number of judged features."""
        return len(self.plan.aspect_of)

    @cached_property
    def feature_names(self) -> npt.NDArray[np.object_]:
        """object[K]: names of the features."""
        return np.array(self.features, object)

    @cached_property
    def possible(self) -> Floats:
        """float64[2, J]: see `fleet.detection.model.expectation.possible_values`."""
        return possible_values(self.plan)

    @cached_property
    def aspect_weights(self) -> Floats:
        """float64[4 A]: what makes errors of different aspects comparable: the inverse of theirs at the threshold."""
        weights: Floats = 1.0 / np.maximum(self.calibration.error_at(self.threshold)[:-1], 1.0)
        return weights


def read_bundle(models_folder: Path, version: str = CURRENT) -> ModelBundle:
    """Read and verify a bundle.

    Raises UnknownModelVersionError where there is none of this version (or no `current` one), ModelBundleError
    where it is damaged or was trained for other features than this code computes.
    """
    name = current_version(models_folder) if version == CURRENT else version
    folder = models_folder / _checked_version(name)
    manifest = _read_manifest(folder)
    if manifest.version != name or _version_of(manifest) != name:
        raise ModelBundleError(
            f"{folder / MANIFEST_NAME} was changed after training: its content no longer fits the version"
            f" {name}; restore the file or train a new bundle with `fleet train`."
        )
    _check_fit(manifest, folder)
    _check_network(manifest, folder)
    return _bundle(manifest, folder)


def write_bundle(
    models_folder: Path,
    *,
    save_network: Callable[[Path], None],
    plan: FeaturePlan,
    threshold: float,
    calibration: Calibration,
    metrics: Mapping[str, float],
    trained_at: datetime | None = None,
) -> ModelBundle:
    """Write a bundle, verify it, and make it the current one.

    `save_network` is given the path to write the network to. A reader sees the whole bundle or none of it: everything
    is written and flushed under a temporary name first. Raises ModelBundleError when the numbers do not make a bundle.
    """
    models_folder.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=models_folder))
    try:
        save_network(draft / NETWORK_NAME)
        manifest = _Manifest(
            format=FORMAT,
            version="",
            trained_at=(trained_at or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            spec=plan.spec,
            features=plan.names,
            threshold=float(threshold),
            calibration_rarity=tuple(calibration.rarity.tolist()),
            calibration_error=tuple(tuple(row) for row in calibration.error.tolist()),
            calibration_steepness=tuple(calibration.steepness.tolist()),
            metrics={name: float(value) for name, value in metrics.items()},
            network_sha256=_sha256(draft / NETWORK_NAME),
        )
        manifest = _named(_as_read_back(manifest))
        _check_fit(manifest, draft)
        (draft / MANIFEST_NAME).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
        _publish(draft, models_folder / manifest.version)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    set_current_version(models_folder, manifest.version)
    return read_bundle(models_folder, manifest.version)


def _named(manifest: _Manifest) -> _Manifest:
    return msgspec.structs.replace(manifest, version=_version_of(manifest))


def current_version(models_folder: Path) -> str:
    """Return the version that serves by default. Raises UnknownModelVersionError where none was trained."""
    try:
        return (models_folder / CURRENT).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise UnknownModelVersionError(
            f"{models_folder} names no current model bundle: train one with `fleet train`."
        ) from None


def versions(models_folder: Path) -> list[str]:
    """Return the names of all bundles, the newest first; whether they can serve, `read_bundle` says."""
    found = [manifest.parent.name for manifest in models_folder.glob(f"*/{MANIFEST_NAME}")]
    return sorted((name for name in found if _VERSION_PATTERN.fullmatch(name)), reverse=True)


def set_current_version(models_folder: Path, version: str) -> None:
    """Let `version` serve by default; readers see the old name or the new one."""
    draft = models_folder / f".{CURRENT}.{os.getpid()}"
    draft.write_text(_checked_version(version) + "\n", encoding="utf-8")
    _flush(draft)
    draft.replace(models_folder / CURRENT)
    _flush(models_folder)


def _checked_version(version: str) -> str:
    # A version arrives from calls and files and becomes a path.
    if _VERSION_PATTERN.fullmatch(version) is None:
        raise UnknownModelVersionError(
            f"{version[:100]!r} is no model version: use letters, digits and dashes,"
            " as in the name of a folder below models."
        )
    return version


def _read_manifest(folder: Path) -> _Manifest:
    path = folder / MANIFEST_NAME
    try:
        content = path.read_bytes()
        if (found := msgspec.json.decode(content, type=_Format).format) != FORMAT:
            raise OutdatedBundleError(
                f"The model bundle at {folder} has format {found}, this code reads {FORMAT}: train a new one with"
                " `fleet train`."
            )
        return msgspec.json.decode(content, type=_Manifest)
    except FileNotFoundError:
        raise UnknownModelVersionError(
            f"There is no model bundle at {folder}: name an existing version or train one with `fleet train`."
        ) from None
    except OSError as refusal:
        raise ModelBundleError(f"{path} cannot be read ({refusal.strerror}): mend its permissions.") from None
    except msgspec.MsgspecError as mistake:
        raise ModelBundleError(
            f"{path} is no manifest of a model bundle ({mistake}): train a new one with `fleet train`."
        ) from None


def _as_read_back(manifest: _Manifest) -> _Manifest:
    """Return the manifest as its readers will see it: 1 where a float belongs would be hashed unlike their 1.0.

    Numbers that JSON cannot say stay, for the checks to name.
    """
    try:
        return msgspec.json.decode(msgspec.json.encode(manifest), type=_Manifest)
    except msgspec.ValidationError:
        return manifest


def _version_of(manifest: _Manifest) -> str:
    content = msgspec.json.encode(msgspec.structs.replace(manifest, version=""))
    return f"{manifest.trained_at.replace(':', '-')}-{hashlib.sha256(content).hexdigest()[:8]}"


def _check_fit(manifest: _Manifest, folder: Path) -> None:
    """Raise ModelBundleError unless the manifest's numbers are complete and made for this code's features."""
    wrong = _first_misfit(manifest)
    if wrong:
        raise ModelBundleError(
            f"The model bundle at {folder} does not fit this code: {wrong}; train a new one with `fleet train`."
        )


def _first_misfit(manifest: _Manifest) -> str:
    try:
        plan = FeaturePlan.of(checked(manifest.spec))
    except ValueError as mistake:
        return f"its channel specification is wrong ({mistake})"
    if manifest.features != plan.names:
        return f"its features are {', '.join(manifest.features)}, this code computes {', '.join(plan.names)}"
    if not np.isfinite(manifest.threshold):
        return "its threshold is not finite"
    if not _is_calibration(manifest, 4 * len(plan.aspects) + 1):
        return "its calibration is not increasing and finite for each aspect of the features"
    return ""


def _is_calibration(manifest: _Manifest, kinds: int) -> bool:
    rarity, rows = np.array(manifest.calibration_rarity), manifest.calibration_error
    steepness = np.array(manifest.calibration_steepness)
    if len(rows) != kinds or len(steepness) != kinds or len(rarity) < 2 or any(len(r) != len(rarity) for r in rows):
        return False
    error = np.array(rows)
    finite = np.isfinite(rarity).all() and np.isfinite(error).all() and np.isfinite(steepness).all()
    rising = (np.diff(rarity) > 0).all() and (np.diff(error, axis=1) > 0).all()
    return bool(finite and rising and rarity[0] >= 0 and (error[:, 0] > 0).all() and (steepness >= 0).all())


def _check_network(manifest: _Manifest, folder: Path) -> None:
    path = folder / NETWORK_NAME
    try:
        found = _sha256(path)
    except OSError as refusal:
        raise ModelBundleError(
            f"{path} cannot be read ({refusal.strerror}): restore the bundle or train a new one with `fleet train`."
        ) from None
    if found != manifest.network_sha256:
        raise ModelBundleError(
            f"{path} is damaged: its SHA-256 differs from the manifest's;"
            " restore the bundle or train a new one with `fleet train`."
        )


def _bundle(manifest: _Manifest, folder: Path) -> ModelBundle:
    return ModelBundle(
        version=manifest.version,
        folder=folder,
        trained_at=manifest.trained_at,
        plan=FeaturePlan.of(manifest.spec),
        threshold=manifest.threshold,
        calibration=Calibration(
            np.array(manifest.calibration_rarity),
            np.array(manifest.calibration_error),
            np.array(manifest.calibration_steepness),
        ),
        metrics=manifest.metrics,
        network_sha256=manifest.network_sha256,
    )


def _publish(draft: Path, folder: Path) -> None:
    """Flush a finished draft to disk and give it its name."""
    draft.chmod(0o755)  # mkdtemp makes it private; the server may run as another user
    for path in draft.iterdir():
        _flush(path)
    _flush(draft)
    if not folder.exists():  # else it has this content already: its name says so
        draft.rename(folder)
    _flush(folder.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
