"""What a run cost: as usage showed it at the end, or the most that it may have been."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class UsageShown:
    """What usage showed of the charges of a run when it was last read.

    Attributes:
        credits: The charges of the accounts whose usage can be read; None if there was none.
        given_back_credits: What was reserved besides, and not charged.
        unread: Accounts that sent runs, and whose usage cannot be read.
        is_settled: Whether it was read late enough after the last run: ``limits.settle_s``.
    """

    credits: float | None = None
    given_back_credits: float = 0.0
    unread: tuple[str, ...] = ()
    is_settled: bool = True


def cost_words(cost_credits: float, usage: UsageShown | None) -> str:
    """Say what a run cost; empty if it cost nothing."""
    shown = usage.credits if usage else None
    if usage is None or shown is None:
        return f"at most {cost_credits:,.10g} credits" if cost_credits else ""
    if not usage.is_settled:
        words = f"{max(shown, 0):,.10g} credits so far (usage, not settled yet)"
        return f"{words}, {cost_credits:,.10g} by the answers" if cost_credits > shown else words
    unread = max(0.0, cost_credits - shown)
    words = f"charged {shown:,.10g} credits (usage)"
    if unread and usage.unread:
        words += f", at most {unread:,.10g} more of {', '.join(usage.unread)}"
    elif unread:
        words = f"charged {shown:,.10g} credits by usage, {cost_credits:,.10g} by the answers"
    if usage.given_back_credits:
        words += f", {usage.given_back_credits:,.10g} more reserved and given back"
    return words if cost_credits or shown or usage.given_back_credits else ""
