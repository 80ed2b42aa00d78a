"""The error tree: what can go wrong, whether trying again can help, and a sentence that says what to change."""

from typing import ClassVar


class FleetError(Exception):
    """Base of every error of this system; its message is one sentence for the person who can mend it."""

    retriable: ClassVar[bool] = False


class SettingsError(FleetError):
    """A setting is wrong: the start stops."""


class NotSignedInError(FleetError):
    """Nobody is known by this token, or not any more."""


class ModelBundleError(FleetError):
    """A model bundle is missing, damaged, or does not fit this code."""


class OutdatedBundleError(ModelBundleError):
    """A model bundle was written by another version of this code."""


class UnknownModelVersionError(ModelBundleError):
    """A call named a bundle version that this scorer cannot load."""


class KafkaUnavailableError(FleetError):
    """Kafka did not answer in time; the same call may succeed later."""

    retriable = True


class TopicMismatchError(FleetError):
    """An existing topic differs from what the settings ask for in a way that breaks a promise."""


class UnsoundKafkaError(FleetError):
    """The brokers are of a release that breaks a promise."""


class RetentionGapError(FleetError):
    """Records that the group had not read yet have been deleted by retention."""


class FencedError(FleetError):
    """Another owner has taken the partition: this one must give it up."""


class CommitUncertainError(FleetError):
    """A transaction may or may not have been committed: the committed offset tells."""

    retriable = True


class ScorerUnavailableError(FleetError):
    """No scorer answered: away, starting or busy; the same call may succeed later."""

    retriable = True


class ScorerUnwellError(ScorerUnavailableError):
    """A scorer says that it cannot score anything now: another one is asked."""


class ScoringFailedError(FleetError):
    """A scorer answered that it cannot score a block."""


class LocalServiceError(FleetError):
    """A part that a laptop runs for itself (Kafka, a port, a Java runtime) could not be had."""


class MappingError(FleetError):
    """A replay mapping does not fit its recording."""


class ChannelSpecError(FleetError):
    """A channel specification cannot be used."""


class RecordingError(FleetError):
    """A recording cannot be read: its file, a column, a time or a label."""
