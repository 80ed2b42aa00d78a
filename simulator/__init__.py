"""The fake outside world: vehicles, roads, faults with labels, paced publishing, replay of recordings, local Kafka."""
