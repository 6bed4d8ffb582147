"""`infra completion`."""

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a completion script, to be sourced by the shell's start file.

    \b
    bash:  infra completion bash > ~/.local/share/bash-completion/completions/infra
    zsh:   infra completion zsh > "${fpath[1]}/_infra"
    fish:  infra completion fish > ~/.config/fish/completions/infra.fish
    """
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(found(ctx.find_root().command, {}, "infra", "_INFRA_COMPLETE").source())
