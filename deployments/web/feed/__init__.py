"""`/ws/v2`: sockets, the clock and Kafka for the sessions of `fleet.delivery.feed`."""
