"""Examine a target before a run: does it respond, is the profile right, what can be tested at what cost."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Final, get_args

from rich.console import Console

from knouds_harness.command_output import print_line, print_table
from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import Action
from knouds_harness.errors import ExitCode, UsageError
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.evidence import Exchange, body_of, members_of
from knouds_harness.exchange.pricing import Pricing
from knouds_harness.exchange.profile_check import ProfileCheck, check_profile, first_contact
from knouds_harness.exchange.webhooks import Receiver
from knouds_harness.judging.checks import families, family_by_fact
from knouds_harness.printable import counted
from knouds_harness.suite.discovery.run_plan import lacking_by_fact, missing_by_need, possible_in
from knouds_harness.suite.generation.walk import values_words
from knouds_harness.suite.nights import lines_beyond
from knouds_harness.suite.run_outcome import expected_facts, mistyped
from knouds_harness.suite.running import collect_suite
from knouds_harness.suite.selection import Spending
from knouds_harness.targets.address import (
    HOSTS_VARIABLE,
    allowed_hosts,
    entry_of,
    host_of,
    hosts_file,
    is_loopback,
)
from knouds_harness.targets.builtin import open_target
from knouds_harness.targets.guards import Guard
from knouds_harness.targets.needs import CONTROL
from knouds_harness.targets.needs.keys import active_keys, without_working_keys
from knouds_harness.targets.needs.rate_limits import FILLABLE_WINDOW
from knouds_harness.targets.needs.webhooks import mints_webhooks
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Role

_MOST_LACKING: Final = 10
"""Lines about what a profile lacks, so that the output fits about one screen."""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What is known of a target before a check; docs/commands.schema.json says what each member is."""

    target: str
    base_url: str
    profile: str
    has_working_key: bool
    keys: tuple[KeyFound, ...]
    mistyped: tuple[str, ...]
    contradictions: tuple[str, ...]
    testable: Mapping[str, int]
    expected: Mapping[str, int]
    facts: int
    untested: Mapping[str, Sequence[str]]
    deliveries: str | None
    can_receive: bool
    most_credits: float
    values: str
    time: str
    unpaid: int
    beyond: Mapping[str, float]
    unread: tuple[str, ...]
    limit_credits: float
    are_hosts_listed: bool

    @property
    def exit_code(self) -> ExitCode:
        """2 if no key works; 0 if the profile is right and deliveries can be received; 1 otherwise."""
        if not self.has_working_key and not self.contradictions:
            return ExitCode.USAGE
        is_sure = all(key.is_told or key.is_missing for key in self.keys)
        return ExitCode.KEPT if is_sure and not self.contradictions and self.can_receive else ExitCode.BREACH


@dataclass(frozen=True, kw_only=True)
class KeyFound:
    name: str
    user: str = ""
    tier: str = ""
    state: str = ""
    status: int | None = None
    verdict: str
    is_told: bool = True
    is_missing: bool = False

    @property
    def answer(self) -> str:
        return "" if self.is_missing else str(self.status or "no answer")


def examine(target_name: str, *, yes_production: bool) -> Diagnosis:
    """Examine a target; sends only reads, and requests without effect."""
    with open_target(target_name) as target:
        expected_facts(target)  # reports unknown names before anything is sent
        guard = Guard(target, yes_production=yes_production)
        with Client(target=target, guard=guard) as client:
            contact = first_contact(client)
            checked = check_profile(client)
            deliveries, can_receive = _deliveries(target)
            borne_out = checked.target
            lacking = lacking_by_fact(borne_out)
            price = Pricing(client).worst_case
            suite = collect_suite()
            possible = possible_in(suite, borne_out)
            paid = Spending.of(possible, borne_out, price, limit_credits=target.limits.credits)
            return Diagnosis(
                target=target.name,
                base_url=target.base_url,
                profile=str(target.source),
                has_working_key=bool(active_keys(checked.target)),
                keys=tuple(_keys(checked, target)),
                mistyped=tuple(mistyped(target)),
                contradictions=tuple(each.says for each in checked.contradictions),
                testable=_by_family(fact for fact, words in lacking.items() if not words),
                expected=_by_family(lacking),
                facts=len(shipped_document().facts),
                untested=missing_by_need(borne_out),
                deliveries=deliveries,
                can_receive=can_receive,
                most_credits=Spending.of(possible, borne_out, price, limit_credits=math.inf).cost_credits,
                values=values_words(borne_out),
                time=check_time_words(
                    statistics.median(each.elapsed_ms for each in checked.exchanges or [contact]),
                    target.limits.concurrency,
                    share=len(possible) / len(suite),
                    fills_window=CONTROL.find(target) is None and FILLABLE_WINDOW.missing(borne_out) is None,
                ),
                unpaid=len(paid.unpaid),
                beyond=paid.beyond,
                unread=tuple(_unread(client)),
                limit_credits=target.limits.credits,
                are_hosts_listed=allowed_hosts() is not None,
            )


def print_diagnosis(found: Diagnosis, *, console: Console) -> None:
    say = partial(print_line, console=console)
    say(f"{found.target}: {found.base_url} answers; profile {found.profile}")
    if not found.are_hosts_listed and not is_loopback(host_of(found.base_url)):
        say(
            "A change of the profile can send its keys to any host. To prevent that, set "
            f"{HOSTS_VARIABLE}={entry_of(found.base_url)} where the keys are set, or list the host in "
            f"{hosts_file()}."
        )
    print_table(
        [(key.name, key.user, key.tier, key.state, key.answer, key.verdict) for key in found.keys],
        headings=("key", "user", "tier", "state", "whoami", ""),
        console=console,
    )
    if not found.has_working_key:
        admitted = (key.tier for key in found.keys if key.state == "active" and key.status == HTTPStatus.OK)
        say(f"{without_working_keys(admitted)}: nothing that needs one can be tested.", style="red")
    for says in found.mistyped:
        say(says, style="yellow")
    for says in found.contradictions:
        say(says, style="red")
    if not found.has_working_key:  # to say what could be verified with working keys would mislead
        return
    by_family = ", ".join(
        f"{family} {found.testable.get(family, 0)}/{of}" for family, of in found.expected.items()
    )
    say(
        f"A check can verify at least {sum(found.testable.values())} of {found.facts} facts with this "
        f"profile, by family: {by_family}."
    )
    _print_untested(found.untested, console)
    say(found.values)
    if found.deliveries:
        say(found.deliveries)
    say(
        f"A full check of a target that keeps the contract costs at most {found.most_credits:,.0f} credits; "
        f"limits.credits is {found.limit_credits:,.0f}."
    )
    if found.unpaid:
        say(
            f"  That limit leaves {counted(found.unpaid, 'test')} untested, as the cheapest are paid first: "
            "raise the limit, pass --family or --fact, or pay for some each night with check --rotate."
        )
    for line in lines_beyond(found.beyond):
        say(f"  {line}")
    say(found.time)
    if found.unread:
        say(
            f"Usage of {', '.join(found.unread)} cannot be read: a run with a key of theirs that is not "
            "refused with 401 counts at its full price."
        )


def _unread(client: Client) -> list[str]:
    """Return the accounts of the profile's keys whose usage cannot be read, if anything may be run."""
    if Action.RUN in client.target.limits.allow:
        client.watch_charges(each.user for each in client.target.personas.values())
    return sorted(user for user, rows in client.charges_shown.marks.items() if rows is None)


def _print_untested(untested: Mapping[str, Sequence[str]], console: Console) -> None:
    lines = list(untested.items())
    if lines:
        says = "Facts not tested, what they need, and their families (--format json lists the ids):"
        print_line(says, console=console)
    rows = [
        (f"  {len(facts)}", f"{says} ({', '.join(_by_family(facts))})")
        for says, facts in lines[:_MOST_LACKING]
    ]
    print_table(rows, console=console, right=(0,))
    if rest := lines[_MOST_LACKING:]:
        facts = sum(len(facts) for _, facts in rest)
        print_line(f"  … and {counted(len(rest), 'more need')}, of {counted(facts, 'fact')}", console=console)


def _by_family(facts: Iterable[str]) -> dict[str, int]:
    """Count the facts of each family, in the order of families."""
    counts = Counter(family_by_fact().get(fact, "") for fact in facts)
    return {family: counts[family] for family in families() if counts[family]}


def _keys(checked: ProfileCheck, target: Target) -> Iterator[KeyFound]:
    """Yield what is known of each key, in the profile's order; then the keys without a secret."""
    contradicted = {
        each.where.split(".")[1] for each in checked.contradictions if each.where.startswith("keys.")
    }
    for key in target.personas.values():
        answer = checked.whoami_by_key.get(key.name)
        is_told = key.state != "active" or (answer is not None and _told(answer))
        verdict = "as the profile says" if is_told else "not known: whoami did not tell"
        yield KeyFound(
            name=key.name,
            user=key.user,
            tier=key.tier,
            state=key.state,
            status=answer.status if answer else None,
            verdict="contradicts the profile, see below" if key.name in contradicted else verdict,
            is_told=is_told,
        )
    for name, reason in target.missing.items():
        yield KeyFound(name=name.removeprefix("keys."), verdict=f"missing: {reason}", is_missing=True)


def _told(whoami: Exchange) -> bool:
    """Whether whoami refused the key, or told all that the profile says about its account."""
    account = members_of(body_of(whoami).get("user"))
    return whoami.status == HTTPStatus.UNAUTHORIZED or (
        isinstance(account.get("tier"), str)
        and account.get("role") in get_args(Role)
        and isinstance(account.get("approved"), bool)
    )


def _deliveries(target: Target) -> tuple[str | None, bool]:
    """Say where deliveries are awaited, and whether this machine can listen there."""
    webhook = target.webhook
    if webhook is None or webhook.receiver is None or mints_webhooks(target):
        return None, True
    try:
        with Receiver(*webhook.receiver) as receiver:
            address = receiver.url("/")
    except UsageError as problem:
        return str(problem), False
    keys = ", ".join(key.name for key in target.personas.values() if key.webhook) or "no key"
    return f"Deliveries to {webhook.url} are awaited at {address} (webhook = true: {keys}).", True


REQUESTS: Final = 6_250
"""Requests of a full check, of all tests."""
_IN_A_ROW: Final = 180
"""Those that wait for each other; others wait only as long as more are due than may be in flight."""
_OF_THIS_MACHINE_S: Final = 20.0
_FILLING_S: Final = 80.0
"""How long it takes at least to fill a window of 60 s, beside everything else."""
_MOST_AT_ONCE: Final = 32


def check_time_s(latency_ms: float, at_once: int, *, share: float = 1.0, fills_window: bool = False) -> float:
    """Estimate the seconds of a full check, of which a ``share`` of the tests is possible.

    How many requests wait for each other was measured (benchmarks/README.md); how many there are is counted.
    """
    waits_s = latency_ms / 1000 * (_IN_A_ROW + (REQUESTS - _IN_A_ROW) / at_once)
    return max(share * (waits_s + _OF_THIS_MACHINE_S), _FILLING_S if fills_window else 0.0)


def check_time_words(latency_ms: float, at_once: int, *, share: float, fills_window: bool) -> str:
    """Say how long a full check likely takes, and with which concurrency it would take half."""
    time_s = partial(check_time_s, latency_ms, share=share, fills_window=fills_window)
    best = next((n for n in range(at_once, _MOST_AT_ONCE) if time_s(n) <= time_s(at_once) / 2), _MOST_AT_ONCE)
    now, then = _duration(time_s(at_once)), _duration(time_s(best))
    waits = ", longer if it has to wait for more than one rate-limit window" if fills_window else ""
    words = f"At {latency_ms:.0f} ms for an answer, a full check takes about {now}{waits}"
    return f"{words}." if now == then else f"{words}; with limits.concurrency = {best}, {then}."


def _duration(seconds: float) -> str:
    return f"{math.ceil(seconds / 10) * 10} s" if seconds < 120 else f"{math.ceil(seconds / 60)} min"
