"""From finished runs to Kafka: the hand-over, and the transactions of the member."""
