"""The target of a run record: its profile is one of the user's, and what the record says is only compared."""

from knouds_harness.errors import UsageError
from knouds_harness.targets.profile import Target, load_target, target_names

_REMEDY = "  Name the profile of that server with --target."


def load_recorded_target(name: object, base_url: object) -> Target:
    """Read the profile in ``targets/`` with the plain name of a record's target, which is never a path.

    Raises:
        UsageError: There is no such profile, or it is for another address than the record.
        ProfileError: As ``load_target``.
    """
    if name not in target_names():
        raise UsageError(
            f'the run was on target "{name}", and targets/ has no profile of that name\n{_REMEDY}'
        )
    target = load_target(str(name))
    require_same_server(target, base_url)
    return target


def require_same_server(target: Target, base_url: object) -> None:
    """Compare a profile with the address in a record.

    Raises:
        UsageError: They differ.
    """
    if target.base_url != base_url:
        raise UsageError(
            f"the run was on {base_url}, and {target.source} is for {target.base_url}\n{_REMEDY}"
        )
