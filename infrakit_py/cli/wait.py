"""`infra wait`."""

import click

from infrakit_py.cli import options, serving


@click.command()
@serving.cluster
@serving.server
@click.option("--commit", default="", metavar="SHA", help="Until this commit is in force, or refused.")
@click.option(
    "--timeout",
    type=options.Duration(),
    default="30m",
    show_default=True,
    help="Give up after this long; the controller goes on.",
)
@options.as_json
@options.debug
def wait(cluster: str | None, server: serving.Server | None, commit: str, timeout: float, as_json: bool) -> int:
    """Wait until a controller has made what is declared so.

    Ends with 0 once it is in force and every cluster has converged; with 1 where it was refused (every mistake is
    printed), stopped, rolled back or failed, and at the time-out. A pipeline's job that runs it after a merge is the
    commit's status.
    """
    from infrakit_py.cli.outlook import Goal
    from infrakit_py.cli.served import latest_event
    from infrakit_py.cli.waiting import wait_until_done

    client = serving.needed(server).client()
    goal = Goal(commit=commit.lower(), cluster=cluster)
    return wait_until_done(client, goal, latest_event(client), timeout_seconds=timeout, as_json=as_json)
