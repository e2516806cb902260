"""What has to hold when requests come at once: some order, one after another, explains the answers."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from knouds_harness.conformance.claims import Claim, check
from knouds_harness.conformance.needs import CONTROL, FULL_KEY, LIMITED_KEY, MAY_RUN, MAY_WRITE, USABLE_MODEL
from knouds_harness.exchange.evidence import Exchange


def created_slug(exchange: Exchange) -> str | None:
    """The slug that a create was answered with."""
    body = exchange.json_or_none()
    slug = body.get("slug") if isinstance(body, dict) and exchange.status in (200, 201) else None
    return slug if isinstance(slug, str) else None


@check("workflows.create-suffixes-taken-slug", needs=(FULL_KEY, MAY_WRITE))
def distinct_slugs(exchange: Exchange, *, others: Collection[str]) -> Iterator[Claim]:
    """Workflows of one name that are created at once get slugs of their own.

    ``others`` are the slugs that the other creates were answered with.
    """
    slug = created_slug(exchange)
    if slug is not None:
        yield Claim(
            fact="workflows.create-suffixes-taken-slug",
            holds=slug not in others,
            expected="a slug that no other create got",
            observed=f"{slug}, as another one",
            where="/slug",
        )


@check("run.too-few-credits-is-402", needs=(USABLE_MODEL, MAY_RUN, CONTROL))
def no_overspending(
    exchange: Exchange,  # noqa: ARG001 - the evidence
    *,
    charged_credits: float,
    had_credits: float,
) -> Iterator[Claim]:
    """Runs that are sent at once do not spend more credits than the account has.

    The exchange is the last of the runs that were admitted, ``charged_credits`` what they cost together.
    """
    yield Claim(
        fact="run.too-few-credits-is-402",
        holds=charged_credits <= had_credits,
        expected=f"at most {had_credits:g} credits charged, and a 402 for the rest",
        observed=f"{charged_credits:g} credits charged",
        where="/cost",
    )


@check("rate.over-limit-is-429", needs=(LIMITED_KEY, MAY_RUN, MAY_WRITE, CONTROL))
def burst(
    exchange: Exchange,  # noqa: ARG001 - the evidence
    *,
    admitted: int,
    left: int,
) -> Iterator[Claim]:
    """Of requests that are sent at once no more are admitted than the window had left.

    The exchange is the last of those that were admitted.
    """
    yield Claim(
        fact="rate.over-limit-is-429",
        holds=admitted <= left,
        expected=f"{left} admitted, and a 429 for the rest",
        observed=f"{admitted} admitted",
    )
