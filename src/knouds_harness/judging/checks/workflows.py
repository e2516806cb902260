"""Whether workflows are stored, listed and changed as written, and for their owner alone."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping

from knouds_harness.contract.shapes import as_json
from knouds_harness.exchange.evidence import JSON, Exchange, members_of, objects_in
from knouds_harness.judging import workflow_model
from knouds_harness.judging.checks.schemas import same_fields
from knouds_harness.judging.claim import Claim, admitting, answer_is, answers_to, by_rule, check, status_is
from knouds_harness.judging.context import Case
from knouds_harness.judging.rule import reasons
from knouds_harness.judging.rule.values import documented_body, first_difference, is_same_text
from knouds_harness.targets.needs import keys
from knouds_harness.targets.needs.workflows import FILED_WORKFLOW, OWN_WORKFLOW

_WRITE_NEEDS = (keys.AUTHOR,)
_TWO_USERS = (keys.TWO_AUTHORS,)
_PLAIN_NAME = re.compile(r"(?=.{1,36}\Z)[A-Za-z0-9]+( [A-Za-z0-9]+)*")  # how long a slug may be is open
_STABLE_MEMBERS = ("slug", *workflow_model.WRITABLE_MEMBERS, "createdBy", "folderId")


def summaries_of(exchange: Exchange) -> list[dict[str, JSON]] | None:
    """Return the workflows in a list response; None if it is not a list."""
    summaries = exchange.json_or_none()
    if exchange.status != 200 or not isinstance(summaries, list):
        return None
    return objects_in(summaries)


def kept_members(document: JSON) -> dict[str, JSON]:
    """Return the members of a workflow that only a write may change; null for one that is left out."""
    members = members_of(document)
    return {name: members.get(name) for name in _STABLE_MEMBERS} if "slug" in members else {}


# --- create


def _name_and_slug(case: Case) -> tuple[str, str] | None:
    """Return the name and the slug of a create with a plain name; None for anything else."""
    sent, slug = case.asked.sent, case.shown.get("slug")
    name = sent.get("name") if isinstance(sent, dict) else None
    if case.operation_id != "createWorkflow" or not case.is_answered or not isinstance(slug, str):
        return None
    return (name, slug) if isinstance(name, str) and _PLAIN_NAME.fullmatch(name) else None


def _any_suffix(case: Case) -> Mapping[str, object]:
    """Allow any suffix to the slug of the name: one response does not tell which it has to be."""
    name, slug = _name_and_slug(case) or ("", "")
    made = workflow_model.slug_from_name(name)
    is_made = re.fullmatch(rf"{re.escape(made)}(-?[1-9]\d*)?", slug) is not None
    return {"slug": slug, "allowed": (slug if is_made else made,)}


@check(
    "workflows.create-makes-slug-from-name",
    needs=_WRITE_NEEDS,
    applies=_name_and_slug,
    if_unknown=_any_suffix,
)
def made_slug(exchange: Exchange, *, slug: str, allowed: Collection[str]) -> Iterator[Claim]:
    """A name that is not taken becomes the slug, in lowercase with hyphens."""
    yield _slug_claim(exchange, slug, allowed)


@check("workflows.create-suffixes-taken-slug", needs=_WRITE_NEEDS)
def suffixed_slug(exchange: Exchange, *, slug: str, allowed: Collection[str]) -> Iterator[Claim]:
    """A taken slug gets the suffix -2, then -3, and so on."""
    yield _slug_claim(exchange, slug, allowed)


def _slug_claim(exchange: Exchange, slug: str, allowed: Collection[str]) -> Claim:
    where = "/slug" if exchange.request.operation_id == "createWorkflow" else ""
    return Claim(" or ".join(allowed), slug, holds=slug in allowed, where=where)


@check("workflows.creator-owns", needs=_TWO_USERS)
def creator(exchange: Exchange, *, own: str | int | None, others: Collection[str | int]) -> Iterator[Claim]:
    """`createdBy` is the account that created the workflow, even if the body names another."""
    created_by = exchange.members.get("createdBy")
    if exchange.status == 200 and isinstance(created_by, str | int):
        expected = str(own or f"an account other than {', '.join(sorted(map(str, others)))}")
        holds = created_by not in others and own in (None, created_by)
        yield Claim(expected, str(created_by), holds=holds, where="/createdBy")


creator_may = admitting("workflows.creator-may", "workflows.creator-owns", needs=_WRITE_NEEDS)
creator_may_run = admitting(
    "workflows.creator-may-run", "workflows.creator-owns", needs=(keys.AUTHOR_WHO_RUNS,)
)


@check("workflows.get-round-trips", needs=_WRITE_NEEDS)
def stored(exchange: Exchange, *, sent: Mapping[str, JSON]) -> Iterator[Claim]:
    """All that was sent to create is read back: texts, nodes, edges and viewport."""
    yield from as_written(exchange, sent)


@check("workflows.get-round-trips", needs=(keys.AUTHOR, OWN_WORKFLOW))
def copied_fields(exchange: Exchange, *, fields: JSON) -> Iterator[Claim]:
    """A copy made from a read of a workflow has the same fields: the read left none of them out.

    The exchange is the schema of the copy, ``fields`` those of the original's schema.
    """
    yield from same_fields(exchange, fields, origin="the schema of the original")


second_of_free_account = by_rule(reasons.SECOND_OF_FREE_ACCOUNT, keys.FREE_KEY)


# --- update, move, delete


@check("workflows.update-takes-subset", needs=_WRITE_NEEDS)
def update_accepted(exchange: Exchange) -> Iterator[Claim]:
    """An update with any subset of the document's fields is accepted."""
    yield answer_is(exchange, "accepted: any subset of the fields will do", holds=exchange.is_success)


@check("workflows.update-takes-subset", needs=_WRITE_NEEDS)
def updated(exchange: Exchange, *, expected: Mapping[str, JSON]) -> Iterator[Claim]:
    """An update changes the members that it names, and nothing else."""
    if exchange.status == 200:  # slug_stays judges any other status
        yield from as_written(exchange, expected)


@check("workflows.slug-never-changes", needs=_WRITE_NEEDS)
def slug_stays(exchange: Exchange, *, slug: str) -> Iterator[Claim]:
    """An update never changes the slug."""
    yield status_is(exchange, 200)
    shown = exchange.members.get("slug")
    if exchange.status == 200 and isinstance(shown, str):
        yield Claim(slug, shown, holds=shown == slug, where="/slug")


@check("workflows.move-sets-folder", needs=(FILED_WORKFLOW,))
def move_accepted(exchange: Exchange) -> Iterator[Claim]:
    """The owner may move a workflow to a folder that exists, or to the root."""
    yield answer_is(exchange, "accepted: the folder exists", holds=exchange.is_success)


@check("workflows.move-sets-folder", needs=_WRITE_NEEDS)
def moved(exchange: Exchange, *, expected: Mapping[str, JSON]) -> Iterator[Claim]:
    """A move sets the folder that it names, and changes nothing else."""
    yield from as_written(exchange, expected)


@check("workflows.move-sets-folder", needs=_WRITE_NEEDS)
def listed_folder(exchange: Exchange, *, slug: str, name: JSON, folder_id: str | None) -> Iterator[Claim]:
    """After a move, the list shows the new folder, and no second workflow of that name.

    ``name`` is unique to this test.
    """
    summaries = summaries_of(exchange)
    if summaries is None:
        return
    namesakes = {str(each.get("slug")) for each in summaries if is_same_text(each.get("name"), name)}
    yield _none_of(
        namesakes - {slug}, "workflows.move-sets-folder", "only the workflow that was moved", "besides it"
    )
    for summary in summaries:
        if summary.get("slug") == slug and "folderId" in summary:
            shown, expected = summary["folderId"], f"{slug} in {as_json(folder_id)}"
            yield Claim(expected, as_json(shown), holds=shown == folder_id, where="/*/folderId")


gone = by_rule(reasons.DELETED_WORKFLOW, *_WRITE_NEEDS)


# --- list


@check(
    "workflows.list-own-and-templates",
    "workflows.delete-then-404",
    needs=(keys.READER,),
    applies=answers_to("listWorkflows"),
    if_unknown=lambda _: {"own": (), "templates": (), "foreign": (), "deleted": (), "creator": None},
)
def listed(
    exchange: Exchange,
    *,
    own: Collection[str] = (),
    templates: Collection[str] = (),
    foreign: Collection[str] = (),
    deleted: Collection[str] = (),
    creator: str | int | None = None,
) -> Iterator[Claim]:
    """The list holds the account's workflows and other people's templates, nothing else, nothing deleted.

    ``creator`` is how documents spell the account in ``createdBy``. If the list spells it in the same way,
    ``createdBy`` tells whose the other workflows are.
    """
    summaries = summaries_of(exchange)
    if summaries is None:
        return  # envelopes.json-object judges whether it is an array
    slugs = [slug for each in summaries if isinstance(slug := each.get("slug"), str)]
    by_slug = {each["slug"]: each for each in summaries if each.get("slug") in slugs}
    repeated = {slug for slug, times in Counter(slugs).items() if times > 1}
    unmarked = {slug for slug in templates if by_slug.get(slug, {}).get("isTemplate") is False}
    no_other = "no workflow of another account, except templates"
    fact = "workflows.list-own-and-templates"
    yield _none_of(repeated, fact, "each workflow once", "more than once")
    yield _none_of({*own} - {*by_slug}, fact, "every workflow of the account", "left out")
    yield _none_of({*templates} - {*by_slug}, fact, "every template", "left out")
    yield _none_of(unmarked, fact, "isTemplate: true on other people's workflows", "not said to be templates")
    yield _none_of({*foreign} & {*by_slug}, fact, no_other, "listed")
    if creator is not None and creator in (by_slug.get(slug, {}).get("createdBy") for slug in own):
        others = {
            slug
            for slug, each in by_slug.items()
            if each.get("isTemplate") is False and each.get("createdBy") != creator
        }
        yield _none_of(others, fact, f"by createdBy, {no_other}", "listed")
    yield _none_of({*deleted} & {*by_slug}, "workflows.delete-then-404", "nothing that was deleted", "listed")


@check("workflows.summary-fields", needs=_WRITE_NEEDS)
def summarised(exchange: Exchange, *, document: Mapping[str, JSON]) -> Iterator[Claim]:
    """In the list, a workflow has the name, description and tags that reading it shows, and a creator.

    How the list spells accounts is undocumented, so only a null creator is a difference.
    """
    for summary in summaries_of(exchange) or ():
        if summary.get("slug") != document.get("slug"):
            continue
        for name in ("name", "description", "tags"):
            if document.get(name) and name in summary:  # how no description shows is undocumented
                expected, observed = f"{as_json(document[name])}, as reading it shows", as_json(summary[name])
                holds = first_difference(document[name], summary[name]) is None
                yield Claim(expected, observed, holds=holds, where=f"/*/{name}")
        if document.get("createdBy") and "createdBy" in summary:
            expected, holds = "a creator, as reading it shows", summary["createdBy"] is not None
            yield Claim(expected, "null", holds=holds, where="/*/createdBy")


def _none_of(wrong: Collection[str], fact: str, expected: str, what: str) -> Claim:
    return Claim(expected, f"{what}: {', '.join(sorted(wrong))}", holds=not wrong, fact=fact)


# --- other people's


@check("workflows.foreign-write-is-refused", needs=_TWO_USERS)
def untouched(exchange: Exchange, *, before: Mapping[str, JSON]) -> Iterator[Claim]:
    """A write to someone else's workflow changes nothing."""
    yield from as_written(exchange, before)


admin_write = by_rule(reasons.WRITE_BY_ADMIN, keys.AUTHOR, keys.ADMIN_KEY)


@check("workflows.admin-does-not-own", needs=(keys.AUTHOR, keys.ADMIN_KEY))
def untouched_by_admin(exchange: Exchange, *, before: Mapping[str, JSON]) -> Iterator[Claim]:
    """An administrator's write to someone else's workflow changes nothing."""
    yield from as_written(exchange, before)


# --- schema


@check("schema.shape", needs=_WRITE_NEEDS)
def schema_describes(exchange: Exchange, *, expected: Mapping[str, JSON]) -> Iterator[Claim]:
    """A schema carries the name and description of its workflow."""
    words = {name: expected[name] for name in ("name", "description") if name in expected}
    if exchange.status == 200 and isinstance(exchange.json_or_none(), dict):
        yield from as_written(exchange, words)


# --- how documents are compared


def as_written(exchange: Exchange, expected: Mapping[str, JSON]) -> Iterator[Claim]:
    """Claim, member by member, that a workflow holds what was written, or read before.

    Undocumented members are ignored.
    """
    yield status_is(exchange, 200)
    document = exchange.json_or_none()
    if exchange.status != 200 or not isinstance(document, dict):
        return
    documented = documented_body(exchange)
    for name, value in expected.items():
        if documented.members and name not in documented.members:
            continue
        difference = first_difference({name: value}, document, documented=documented)
        where, wanted, found = difference or (f"/{name}", value, value)
        yield Claim(as_json(wanted), as_json(found), holds=difference is None, where=where)
