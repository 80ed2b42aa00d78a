"""The routes of episodes: finding them, their whole story, and what people do about them."""

import logging
import time
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Annotated, Final, Literal

import msgspec
from fastapi import APIRouter, Depends, Query, Request
from fastapi import Path as PathParameter
from starlette.responses import Response

from deployments.web.access.guard import principal_of
from deployments.web.answers import MAX_LISTED, EpisodeList, EpisodeStory, json_answer
from deployments.web.bodies.reading import Bodies
from deployments.web.core import GatewayCore
from deployments.web.openapi import answers
from deployments.web.problems import ProblemError
from fleet.delivery.episode_search import EpisodeFilter, Page, Place, search
from fleet.delivery.fleet_view import KnownEpisode
from fleet.delivery.handling import MOST_ACTIONS, Handling
from fleet.errors import KafkaUnavailableError
from fleet.events.event_time import event_time_s
from fleet.records.action import LONGEST_NAME, Action, ActionRequest, AlarmLabel, HandlingStatus
from fleet.records.episode import handled

MOST_BODY_BYTES: Final = 16_384
BODIES_AT_ONCE: Final = 64
ACTIONS_PATH: Final = "/episodes/{episodeId:id}/actions"

logger = logging.getLogger(__name__)

_read_action = msgspec.json.Decoder(ActionRequest).decode
_LogTime = Annotated[
    str | None, Query(description="Unix seconds or ISO-8601; by the log's time, which is `publishedAt`")
]
_Name = Annotated[str | None, Query(max_length=LONGEST_NAME)]
_EpisodeId = Annotated[str, PathParameter(alias="episodeId")]


def episode_routes(gateway: GatewayCore) -> APIRouter:
    """Build the routes."""
    router = APIRouter(prefix="/v1", tags=["episodes"])
    desk, bodies = EpisodeDesk(gateway), Bodies(BODIES_AT_ONCE * MOST_BODY_BYTES)

    @router.get("/episodes", summary="Anomaly episodes", responses=answers(EpisodeList, 422))
    async def episodes(
        request: Request,
        wanted: Annotated[EpisodeFilter, Depends(read_filter)],
        after: Annotated[str | None, Query(description="`next` of the page before")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_LISTED)] = 1_000,
    ) -> Response:
        return desk.listed(wanted, principal_of(request).tenant, read_place(after), limit)

    @router.post(
        ACTIONS_PATH,
        summary="Do something about an episode",
        responses=answers(EpisodeStory, 404, 408, 409, 413, 422, 503),
    )
    async def act(request: Request, episode_id: _EpisodeId) -> Response:
        async with bodies.read(request, MOST_BODY_BYTES) as body:
            return await desk.act(episode_id, principal_of(request).name, principal_of(request).tenant, body)

    @router.get(
        "/episodes/{episodeId:id}",
        summary="One episode with its whole story",
        responses=answers(EpisodeStory, 404, 422),
    )
    async def episode(request: Request, episode_id: _EpisodeId) -> Response:
        return desk.story(desk.known(episode_id, principal_of(request).tenant))

    return router


async def what_it_is(
    state: Literal["open", "closed"] | None = None,
    vehicle_id: Annotated[str | None, Query(alias="vehicleId")] = None,
    since: _LogTime = None,
    until: _LogTime = None,
    cause: _Name = None,
    min_severity: Annotated[float, Query(alias="minSeverity", ge=0, le=1)] = 0.0,
) -> EpisodeFilter:
    """Read what episodes are wanted. Raises ProblemError (422)."""
    times = read_time("since", since), read_time("until", until)
    return EpisodeFilter(
        state=state,
        vehicle_id=vehicle_id,
        since_s=times[0],
        until_s=times[1],
        cause=cause,
        least_severity=min_severity,
    )


async def read_filter(
    is_: Annotated[EpisodeFilter, Depends(what_it_is)],
    status: Annotated[HandlingStatus | None, Query(description="how far it is dealt with")] = None,
    assignee: _Name = None,
    label: AlarmLabel | None = None,
    text: Annotated[str | None, Query(max_length=LONGEST_NAME, description="in names, causes and comments")] = None,
) -> EpisodeFilter:
    """Read what must have been done about them, too."""
    return replace(is_, status=status, assignee=assignee, label=label, text=text)


def read_time(name: str, text: str | None) -> float | None:
    """Read a time: Unix seconds or ISO-8601. Raises ProblemError (422)."""
    if text is None:
        return None
    try:
        return event_time_s(float(text) if text.replace(".", "", 1).isdecimal() else text.replace(" ", "+"))
    except (ValueError, OverflowError):
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"{name}={text[:40]}: give Unix seconds or an ISO-8601 time, such as 2026-11-23T19:40:00Z.",
        ) from None


def read_place(after: str | None) -> Place | None:
    """Read where a page begins. Raises ProblemError (422)."""
    try:
        return None if after is None else Place.read(after)
    except ValueError:
        detail = f"after={after and after[:40]}: give what an answer names as `next`, or leave it out."
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, detail) from None


@dataclass(frozen=True, slots=True)
class EpisodeDesk:
    """What is known of episodes, and what is done about them."""

    gateway: GatewayCore

    def listed(self, wanted: EpisodeFilter, tenant: str | None, after: Place | None, limit: int) -> Response:
        """Answer with a page of episodes."""
        view, handlings, now_s = self.gateway.view, self.gateway.actions.handlings, time.time()
        page = search(view, handlings, wanted, tenant=tenant, now_s=now_s, after=after, limit=limit)
        return json_answer(_page(page, now_s))

    def known(self, episode_id: str, tenant: str | None) -> KnownEpisode:
        """Return an episode. Raises ProblemError (404)."""
        known = self.gateway.view.episode(episode_id, tenant)
        if known is None:
            detail = f"No episode {episode_id[:100]!r} is known: /v1/episodes lists those that are."
            raise ProblemError(HTTPStatus.NOT_FOUND, detail)
        return known

    def story(self, episode: KnownEpisode) -> Response:
        """Answer with an episode and all that was done about it."""
        handling = self._handling(episode)
        return json_answer(EpisodeStory(msgspec.Raw(_text(episode, handling, time.time())), handling.actions))

    async def act(self, episode_id: str, by: str, tenant: str | None, body: bytes) -> Response:
        """Do something about an episode, and answer with its story. Raises ProblemError (404, 409, 422, 503)."""
        episode, wanted = self.known(episode_id, tenant), _read(body)
        handling = self._handling(episode)
        if not handling.has(wanted.action_id):
            if handling.version >= MOST_ACTIONS:
                detail = f"The episode has {MOST_ACTIONS} actions, and takes no more."
                raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, detail)
            if handling.version == wanted.version:
                await self._append(_action(episode, wanted, by))
                handling = self._handling(episode)
            if not handling.has(wanted.action_id):
                raise self._conflict(episode, wanted)
        return self.story(episode)

    async def _append(self, action: Action) -> None:
        try:
            await self.gateway.actions.append(action)
        except KafkaUnavailableError as away:
            logger.warning("action_not_sure", extra={"episode": action.episode_id, "reason": str(away)})
            detail = (
                "Nobody knows yet whether the action counts, because Kafka does not answer: send it again as it is."
            )
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail) from None

    def _handling(self, episode: KnownEpisode) -> Handling:
        return self.gateway.actions.handlings[episode.summary.episode_id]

    def _conflict(self, episode: KnownEpisode, wanted: ActionRequest) -> ProblemError:
        handling = self._handling(episode)
        last = f"{handling.actions[-1].by} was faster" if handling.actions else "nobody has done anything yet"
        based = f"The action is based on version {wanted.version}, but {handling.version} stands: {last}."
        stands = msgspec.to_builtins(handling.summary(time.time())) if handling.actions else None
        return ProblemError(
            HTTPStatus.CONFLICT,
            f"{based} Look, then send it anew.",
            handling=stands,
            refused=msgspec.to_builtins(wanted),
        )


def _page(page: Page, now_s: float) -> EpisodeList:
    bodies = [msgspec.Raw(_text(episode, handling, now_s)) for episode, handling in page.episodes]
    return EpisodeList(bodies, msgspec.UNSET if page.following is None else str(page.following))


def _text(episode: KnownEpisode, handling: Handling, now_s: float) -> bytes:
    return handled(episode.body, handling.summary(now_s)) if handling.actions else episode.body


def _read(body: bytes) -> ActionRequest:
    try:
        return _read_action(body)
    except (msgspec.MsgspecError, RecursionError) as mistake:
        where = str(mistake) if isinstance(mistake, msgspec.ValidationError) else "it is no JSON"
        detail = (
            f'The action is refused: {where}. Send {{"actionId": "…", "version": 0, "do": {{"kind": "acknowledge"}}}}.'
        )
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, detail) from None


def _action(episode: KnownEpisode, wanted: ActionRequest, by: str) -> Action:
    summary = episode.summary
    return Action(
        episode_id=summary.episode_id,
        action_id=wanted.action_id,
        version=wanted.version,
        by=by,
        at=time.time(),
        do=wanted.do,
        vehicle_id=summary.vehicle_id,
        tenant_id=summary.tenant_id,
        model_version=summary.model_version,
        opened_at=_seconds(summary.opened_at, episode),
        updated_at=_seconds(summary.updated_at, episode),
    )


def _seconds(time: object, episode: KnownEpisode) -> float:
    """Return a time of an episode's record, or the log's where it says none."""
    return float(time) if isinstance(time, int | float) else episode.published_at_s
