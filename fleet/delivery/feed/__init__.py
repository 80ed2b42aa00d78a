"""The protocol `fleet.v2`: one subscription that filters, conflates, says only changes, and resumes from the log.

Nothing here knows a socket, a thread or Kafka: messages go in, frames come out, and the clock is passed in.
"""
