"""Asking machines whether they are well: each declared check, in order, until one says no."""

from collections.abc import Iterator

from infrakit_py.engine.probe_command import ask_command
from infrakit_py.engine.probe_network import ask_tcp, at_any_address
from infrakit_py.errors import InfrakitError, ProviderError
from infrakit_py.model.instance import Instance
from infrakit_py.model.spec import HealthCheck
from infrakit_py.spi.flavor import Flavor
from infrakit_py.spi.provider import Probing, Provider


def probe(provider: Provider, instance: Instance, check: HealthCheck, flavor: Flavor | None = None) -> str | None:
    """Return None for a healthy machine, else why it is not. Raise ProviderError where that cannot be told from here.

    `timeout_seconds` is what a command has, and what each address of the machine has for TCP and for HTTP. A
    flavor, and a provider that is `Probing`, keep their own time.
    """
    return ask(prober_of(provider), instance, check, flavor)


def prober_of(provider: Provider) -> Probing | None:
    """Return who answers for machines that cannot be reached from here. It takes longer to tell than many a check."""
    return provider if isinstance(provider, Probing) else None


def ask(prober: Probing | None, instance: Instance, check: HealthCheck, flavor: Flavor | None = None) -> str | None:
    """Do what `probe` does, where it is known who answers for the machine, if not itself."""
    return next((reason for reason in _answers(prober, instance, check, flavor) if reason is not None), None)


def _answers(
    prober: Probing | None, instance: Instance, check: HealthCheck, flavor: Flavor | None
) -> Iterator[str | None]:
    """Yield what each check says. Nobody is asked before the answers that come earlier were taken."""
    yield instance.impaired or None
    if prober is not None:
        if check.tcp is not None or check.http is not None:
            yield prober.probe(instance.id, check)
    else:
        yield from _network_answers(instance, check)
    if check.command:
        yield ask_command(check.command, instance, check.timeout_seconds)
    if check.flavor:
        yield _opinion(flavor, instance)


def _network_answers(instance: Instance, check: HealthCheck) -> Iterator[str | None]:
    if (port := check.tcp) is not None:
        yield at_any_address(instance, f"tcp {port}", lambda a: ask_tcp(a, port, check.timeout_seconds))
    if (http := check.http) is not None:
        from infrakit_py.engine.probe_http import ask_http  # slow to import, and seldom needed

        name = f"{'https' if http.https else 'http'} {http.port}"
        yield at_any_address(instance, name, lambda a: ask_http(a, http, check.timeout_seconds))


def _opinion(flavor: Flavor | None, instance: Instance) -> str | None:
    if flavor is None:
        raise ProviderError(f"cannot check {instance.id}: there is no flavor to ask")
    try:
        reason = flavor.healthy(instance)
    except ProviderError:
        raise
    except InfrakitError as exc:
        raise ProviderError(f"flavor: {exc}") from exc
    return None if reason is None else f"flavor: {reason}"
