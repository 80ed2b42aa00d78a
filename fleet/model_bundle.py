"""A trained detector on disk: weights, scaling, calibration and feature order, versioned, in one folder.

    models/<version>/manifest.json      everything but the weights, and the weights' hash
    models/<version>/model.weights.h5   Keras weights (HDF5, no pickle)
    models/current                      the version that serves by default, one line of text

A version is the time of training and the first digits of its content's hash, so a folder that was edited by
hand no longer fits its own name and is refused. `fleet.autoencoder` turns a bundle into a model, `fleet.scoring`
takes thresholds from it; `training` writes it. TensorFlow is not needed to read one.
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

from fleet.errors import ModelBundleError, UnknownModelVersionError
from fleet.features import CAUSE_BY_FEATURE, CONDITIONS, FEATURES

Float32s: TypeAlias = npt.NDArray[np.float32]
Floats: TypeAlias = npt.NDArray[np.float64]

FORMAT: Final = 1
CURRENT: Final = "current"
MANIFEST_NAME: Final = "manifest.json"
WEIGHTS_NAME: Final = "model.weights.h5"
_VERSION_PATTERN: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]{0,99}")

_Size = Annotated[int, msgspec.Meta(ge=1, le=4096)]


class LayerSizes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Units of the autoencoder's hidden layers."""

    encoder: _Size = 32
    bottleneck: _Size = 8
    decoder: _Size = 32
    spread: _Size = 12


class _Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`manifest.json` as it stands on disk; `version` is empty while the content is hashed."""

    format: int
    version: str
    trained_at: str
    features: tuple[str, ...]
    conditions: tuple[str, ...]
    causes: tuple[str, ...]
    mean: tuple[float, ...]
    scale_below: tuple[float, ...]
    scale_above: tuple[float, ...]
    threshold: Annotated[float, msgspec.Meta(gt=0)]
    calibration_tail_log10: tuple[float, ...]
    calibration_error: tuple[float, ...]
    layers: LayerSizes
    metrics: dict[str, float]
    weights_sha256: str


@dataclass(frozen=True)
class Calibration:
    """How often ordinary events reach a reconstruction error, measured on vehicles unseen in training."""

    tail_log10: Floats
    """float64[M], increasing from 0: -log10 of the share of ordinary events whose error is larger."""
    error: Floats
    """float64[M], increasing: the error that goes with it."""


@dataclass(frozen=True)
class ModelBundle:
    """One version of the detector, read and verified (K features)."""

    version: str
    folder: Path
    trained_at: str
    features: tuple[str, ...]
    conditions: tuple[str, ...]
    """Features that the model is told and does not judge."""
    causes: tuple[str, ...]
    """For each feature, the cause of an alarm in which its error weighs most."""
    mean: Float32s = field(repr=False)
    """float32[K]: an ordinary value of each feature."""
    scale: Float32s = field(repr=False)
    """float32[2, K]: what counts as one unit below the mean, and above it."""
    threshold: float
    """Reconstruction errors above it are anomalies."""
    calibration: Calibration = field(repr=False)
    layers: LayerSizes
    metrics: Mapping[str, float]
    """What training measured, for people to read."""
    weights_sha256: str

    @property
    def weights_path(self) -> Path:
        """The Keras weights file."""
        return self.folder / WEIGHTS_NAME

    @cached_property
    def judged(self) -> npt.NDArray[np.bool_]:
        """bool[K]: features whose errors count."""
        return np.array([name not in self.conditions for name in self.features])


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
    _check_weights(manifest, folder)
    return _bundle(manifest, folder)


def write_bundle(
    models_folder: Path,
    *,
    save_weights: Callable[[Path], None],
    mean: npt.ArrayLike,
    scale: npt.ArrayLike,
    threshold: float,
    calibration: Calibration,
    layers: LayerSizes,
    metrics: Mapping[str, float],
    trained_at: datetime | None = None,
) -> ModelBundle:
    """Write a bundle for `fleet.features.FEATURES`, verify it, and make it the current one.

    `mean` is [K], `scale` [2, K]. `save_weights` is given the path to write the weights to. A reader sees the whole
    bundle or none of it: everything is written and flushed under a temporary name first. Raises ModelBundleError
    when the numbers do not make a bundle.
    """
    models_folder.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=models_folder))
    try:
        save_weights(draft / WEIGHTS_NAME)
        manifest = _Manifest(
            format=FORMAT,
            version="",
            trained_at=(trained_at or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            features=FEATURES,
            conditions=tuple(name for name in FEATURES if name in CONDITIONS),
            causes=tuple(CAUSE_BY_FEATURE.values()),
            mean=_numbers(mean, np.float32),
            scale_below=_numbers(np.asarray(scale)[0], np.float32),
            scale_above=_numbers(np.asarray(scale)[1], np.float32),
            threshold=float(threshold),
            calibration_tail_log10=_numbers(calibration.tail_log10, np.float64),
            calibration_error=_numbers(calibration.error, np.float64),
            layers=layers,
            metrics={name: float(value) for name, value in metrics.items()},
            weights_sha256=_sha256(draft / WEIGHTS_NAME),
        )
        manifest = msgspec.structs.replace(manifest, version=_version_of(manifest))
        _check_fit(manifest, draft)
        (draft / MANIFEST_NAME).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
        _publish(draft, models_folder / manifest.version)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    set_current_version(models_folder, manifest.version)
    return read_bundle(models_folder, manifest.version)


def current_version(models_folder: Path) -> str:
    """Return the version that serves by default. Raises UnknownModelVersionError where none was trained."""
    try:
        return (models_folder / CURRENT).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise UnknownModelVersionError(
            f"{models_folder} names no current model bundle: train one with `fleet train`."
        ) from None


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
        return msgspec.json.decode(path.read_bytes(), type=_Manifest)
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
    if manifest.format != FORMAT:
        return f"its format is {manifest.format}, this code reads {FORMAT}"
    if manifest.features != FEATURES:
        return f"its features are {', '.join(manifest.features)}, this code computes {', '.join(FEATURES)}"
    if not set(manifest.conditions) < set(FEATURES):
        return "it judges no feature, or names conditions that are no features"
    for name in ("mean", "scale_below", "scale_above", "causes"):
        if len(getattr(manifest, name)) != len(FEATURES):
            return f"its {name} has not one value per feature"
    scales = (*manifest.scale_below, *manifest.scale_above)
    if not np.isfinite([*manifest.mean, *scales, manifest.threshold]).all() or min(scales) <= 0:
        return "its scaling or its threshold is not finite and positive"
    if not _is_calibration(np.array(manifest.calibration_tail_log10), np.array(manifest.calibration_error)):
        return "its calibration is not a pair of increasing finite columns"
    return ""


def _is_calibration(tail_log10: Floats, error: Floats) -> bool:
    return (
        len(tail_log10) == len(error) >= 2
        and bool(np.isfinite(tail_log10).all() and np.isfinite(error).all())
        and bool((np.diff(tail_log10) > 0).all() and (np.diff(error) > 0).all())
        and tail_log10[0] >= 0
        and error[0] >= 0
    )


def _check_weights(manifest: _Manifest, folder: Path) -> None:
    path = folder / WEIGHTS_NAME
    try:
        found = _sha256(path)
    except OSError as refusal:
        raise ModelBundleError(
            f"{path} cannot be read ({refusal.strerror}): restore the bundle or train a new one with `fleet train`."
        ) from None
    if found != manifest.weights_sha256:
        raise ModelBundleError(
            f"{path} is damaged: its SHA-256 differs from the manifest's;"
            " restore the bundle or train a new one with `fleet train`."
        )


def _bundle(manifest: _Manifest, folder: Path) -> ModelBundle:
    return ModelBundle(
        version=manifest.version,
        folder=folder,
        trained_at=manifest.trained_at,
        features=manifest.features,
        conditions=manifest.conditions,
        causes=manifest.causes,
        mean=np.array(manifest.mean, np.float32),
        scale=np.array([manifest.scale_below, manifest.scale_above], np.float32),
        threshold=manifest.threshold,
        calibration=Calibration(np.array(manifest.calibration_tail_log10), np.array(manifest.calibration_error)),
        layers=manifest.layers,
        metrics=manifest.metrics,
        weights_sha256=manifest.weights_sha256,
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


def _numbers(values: npt.ArrayLike, dtype: type[np.float32] | type[np.float64]) -> tuple[float, ...]:
    return tuple(np.asarray(values, dtype).astype(np.float64).tolist())
