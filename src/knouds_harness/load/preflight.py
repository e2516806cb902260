"""Before any load: whether it may go there at all, whether somebody answers, and what runs cost."""

from __future__ import annotations

from collections.abc import Mapping

from knouds_harness.errors import GuardStop, UsageError
from knouds_harness.exchange.client import Client, first_contact
from knouds_harness.exchange.pricing import Pricing
from knouds_harness.load.options import Options
from knouds_harness.target.address import host_of, is_loopback
from knouds_harness.target.guards import Guard
from knouds_harness.target.profile import Target


def check_plan(target: Target, options: Options, *, host: str | None) -> None:
    """Refuse load that the profile does not allow.

    Args:
        target: Where load is to go.
        options: What is asked for.
        host: Of the command line, if it names one.

    Raises:
        UsageError: The command line and the profile name different servers.
        GuardStop: Load would go to another machine unasked, or is more than the profile's limits allow.
    """
    if host and host.rstrip("/") != target.base_url:
        raise UsageError(
            f"--host {host}: the profile {target.source} is for {target.base_url}\n  Leave --host out."
        )
    limits = target.limits
    peak = options.course_peak if options.rate else 0.0
    if limits.requests_per_s and peak > limits.requests_per_s:
        raise GuardStop(
            f"{peak:g} arrivals per second: the profile allows {limits.requests_per_s:g}\n"
            f"  Ask for less, or raise limits.requests_per_s in {target.source}."
        )
    if is_loopback(host_of(target.base_url)):
        return
    if not options.yes:
        raise GuardStop(
            f"{target.base_url} is another machine, and load may be felt there\n"
            "  Say --yes if it is yours to load."
        )
    if options.users > limits.concurrency:
        raise GuardStop(
            f"{options.users} users: the profile allows {limits.concurrency} requests in flight\n"
            f"  Say --users {limits.concurrency}, or raise limits.concurrency in {target.source}."
        )


def look_ahead(target: Target, *, yes_production: bool) -> Mapping[str, float]:
    """Make sure that the target answers, and ask it what its workflows cost, where the profile does not say.

    Args:
        target: Where load is to go.
        yes_production: Whether the command line says so.

    Returns:
        The most that a run costs, in credits, by slug.

    Raises:
        GuardStop: The target is production, and somebody has not agreed.
        TargetUnreachable: It gives no usable answer.
    """
    with Client(target=target, guard=Guard(target, yes_production=yes_production)) as client:
        first_contact(client)
        pricing = Pricing(client, target)
        prices = {slug: pricing.worst_case(each) for slug, each in target.workflows.items() if not each.fails}
    return {slug: price for slug, price in prices.items() if price is not None}
