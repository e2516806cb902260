"""Build the ASGI application from the parts of a sandbox."""

import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import replace
from pathlib import Path

from httpx import URL
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from knouds_sandbox.access.network import ReceiverRules, with_checked_hosts
from knouds_sandbox.access.rate_limits import RateLimiter
from knouds_sandbox.answers import OutgoingAnswer, change_answers
from knouds_sandbox.bodies import Refusal, not_found, refuse
from knouds_sandbox.calls import Services
from knouds_sandbox.engine import Engine
from knouds_sandbox.fault_points import Point
from knouds_sandbox.faults import active_edits
from knouds_sandbox.legal.answers import changes
from knouds_sandbox.legal.between import with_intermediary
from knouds_sandbox.legal.points import BETWEEN, OWN, SERVER, drawn
from knouds_sandbox.providers import Latency
from knouds_sandbox.routing.preferences import with_wire
from knouds_sandbox.routing.routes import make_routes, with_normal_paths
from knouds_sandbox.seeding import seed_store
from knouds_sandbox.state.store import Store

_LOG = logging.getLogger(__name__)


def build_app(
    *,
    database: Path | None = None,
    seed: int = 0,
    faults: Collection[str] = (),
    latency: Latency | None = None,
    control_token: str | None = None,
    legal: str | None = None,
    between: str | None = None,
    webhook_url: str | None = None,
    prefer: bool = False,
    allowed_hosts: Collection[str] | None = None,
    allowed_origins: Collection[str] = (),
    receivers: ReceiverRules | None = None,
    now_unix_s: Callable[[], float],
) -> tuple[ASGIApp, Services]:
    """Build a sandbox, by the arguments of ``running_sandbox``; None as ``allowed_hosts`` allows any."""
    edits = active_edits(faults)
    choices = drawn("--legal", legal, SERVER) if legal else OWN
    in_front = drawn("--between", between, BETWEEN) if between else None
    latency = latency or Latency()
    store = Store(database)
    if store.is_empty:
        seed_store(store, seed, webhook_url=webhook_url)
    receivers = replace(receivers or ReceiverRules(), given_url=webhook_url and str(URL(webhook_url)))
    services = Services(
        store=store,
        engine=Engine(
            store=store, time_scale=latency.time_scale, edits=edits, choices=choices, receivers=receivers
        ),
        limiter=RateLimiter(now_unix_s=now_unix_s, edits=edits, choices=choices),
        latency=latency,
        seed=seed,
        edits=edits,
        control_token=control_token,
        receivers=receivers,
        allows_prefer=prefer,
        choices=choices,
    )

    app = Starlette(
        routes=make_routes(services),
        exception_handlers=dict.fromkeys((Refusal, HTTPException, Exception), _answer_exception),
        lifespan=lambda _: _serving(services),
    )
    app.router.redirect_slashes = False
    edited = [*([_edit_answer] if edits.has(Point.ANSWER) else []), *(changes(choices) if legal else [])]
    outermost = with_normal_paths(app, edits)
    if edited:
        outermost = change_answers(outermost, services, edited)
    if in_front:
        outermost = with_intermediary(outermost, in_front)
    if prefer:
        outermost = with_wire(outermost)
    if allowed_origins:
        outermost = CORSMiddleware(
            outermost,
            allow_origins=allowed_origins,
            allow_methods=("GET", "POST", "PUT", "DELETE"),
            allow_headers=("*",),
            expose_headers=("*",),
        )
    if allowed_hosts is not None:
        outermost = with_checked_hosts(outermost, allowed_hosts)
    return outermost, services


@contextlib.asynccontextmanager
async def _serving(services: Services) -> AsyncIterator[None]:
    with contextlib.closing(services.store):
        async with services.engine.serving():
            yield


async def _answer_exception(request: Request, exception: Exception) -> Response:
    match exception:
        case Refusal():
            return refuse(exception)
        case HTTPException(status_code=405, headers=headers):
            return refuse(
                Refusal(405, "METHOD_NOT_ALLOWED", "This path has no such method.", headers=headers)
            )
        case HTTPException():
            return refuse(not_found("route"))
    _LOG.error("defect of the sandbox in %s %s", request.method, request.url.path, exc_info=exception)
    return refuse(Refusal(500, "INTERNAL_ERROR", "The sandbox has a defect; its log says more."))


def _edit_answer(answer: OutgoingAnswer) -> None:
    for edit in answer.services.edits.at(Point.ANSWER, answer.operation, answer.shown):
        edit(answer)
