"""The Python client of `/ws/v2`: events as they come, whatever becomes of the connection."""

from fleet.client.feed import Feed as Feed
from fleet.client.feed import FeedRefusedError as FeedRefusedError
from fleet.client.state import Loss as Loss
