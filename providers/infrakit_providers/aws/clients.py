"""The SDK's clients of one account and region, with its credentials. No call is made here but to get credentials."""

from datetime import datetime
from functools import cache
from threading import RLock
from typing import TYPE_CHECKING, Any, Final

from infrakit_providers.aws.faults import translating
from infrakit_providers.aws.settings import AssumeRole, Settings

if TYPE_CHECKING:
    from boto3 import Session
    from botocore.loaders import Loader
    from botocore.session import Session as BotocoreSession

_CONNECT_SECONDS: Final = 5
_READ_SECONDS: Final = 60
_SPARE_CONNECTIONS: Final = 8


class Clients:
    """Clients by service, made when they are first asked for, and shared by threads.

    The SDK repeats nothing: whoever calls counts the attempts.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = RLock()
        self._session: Session | None = None
        self._clients: dict[str, Any] = {}

    def of(self, service: str) -> Any:
        """Return the client of a service. ProviderError where there are no credentials to be had."""
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._make(service)
            return self._clients[service]

    def renew(self) -> None:
        """Get credentials anew: those that were used have expired, whatever they said of themselves."""
        with self._lock:
            self._session = None
            self._clients.clear()

    def close(self) -> None:
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()

    def _make(self, service: str) -> Any:
        from botocore.config import Config

        config = Config(
            retries={"total_max_attempts": 1, "mode": "standard"},
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            max_pool_connections=max(self._settings.parallel_calls, self._settings.publish.parallel)
            + _SPARE_CONNECTIONS,
            user_agent_extra="infrakit-py",
        )
        with translating(f"use {service} in {self._settings.region}"):
            if self._session is None:
                self._session = _session(self._settings)
            return self._session.client(service, config=config)  # type: ignore[call-overload]  # by name


def _session(settings: Settings) -> "Session":
    import boto3

    session = boto3.Session(
        profile_name=settings.profile, region_name=settings.region, botocore_session=_bare_session()
    )
    return session if settings.assume_role is None else _as_role(session, settings.assume_role)


def _as_role(session: "Session", role: AssumeRole) -> "Session":
    """Return a session of a role, whose credentials are got anew before they expire."""
    import boto3
    from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
    from botocore.exceptions import NoCredentialsError

    source = session.get_credentials()
    if source is None:
        raise NoCredentialsError
    arguments: dict[str, object] = {"RoleSessionName": role.session_name, "DurationSeconds": int(role.duration)}
    if role.external_id is not None:
        arguments["ExternalId"] = role.external_id
    fetcher = AssumeRoleCredentialFetcher(
        client_creator=session._session.create_client,
        source_credentials=source,
        role_arn=role.role_arn,
        extra_args=arguments,
    )
    credentials = DeferredRefreshableCredentials(refresh_using=fetcher.fetch_credentials, method="assume-role")
    inner = _bare_session()
    inner.__dict__["_credentials"] = credentials  # there is no public way to give a session such credentials
    return boto3.Session(botocore_session=inner, region_name=session.region_name)


def _bare_session() -> "BotocoreSession":
    """Return a session that reads the services' models with all others of this process: each takes half a second."""
    from botocore.session import get_session

    session = get_session()
    session.register_component("data_loader", _loader())
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_timestamp)
    return session


def _timestamp(written: Any) -> datetime:
    """Read a timestamp as AWS writes it: the SDK's own way takes a quarter of the time of a listing."""
    from botocore.utils import parse_timestamp

    if isinstance(written, str):
        try:
            found = datetime.fromisoformat(written)
        except ValueError:
            return parse_timestamp(written)
        if found.tzinfo is not None:
            return found
    return parse_timestamp(written)


@cache
def _loader() -> "Loader":
    from botocore.session import get_session

    loader: Loader = get_session().get_component("data_loader")
    return loader
