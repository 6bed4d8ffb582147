"""The SDK's clients of one project, with its credentials. No call is made here but to get credentials.

The SDK is imported when the first client is asked for: that takes about a second, and no other provider needs it.
"""

import warnings
from functools import cache
from os import environ
from pathlib import Path
from threading import RLock, Thread
from typing import Any, Final

from infrakit_providers.gcp.faults import translated
from infrakit_providers.gcp.settings import Settings

SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)
ENDPOINT_VARIABLE: Final = "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE"
"""Where gcloud finds Compute Engine. Source: gcloud documentation, "Properties", api_endpoint_overrides."""
STORAGE_ENDPOINT_VARIABLE: Final = "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE"
CALL_SECONDS: Final = 60.0
"""For a connection, and then for each part of an answer."""
_SPARE_CONNECTIONS: Final = 8


class Clients:
    """Clients by service (`instances`, `zone_operations`), made when they are first asked for, and shared by threads.

    The SDK repeats nothing: whoever calls counts the attempts.
    """

    def __init__(self, settings: Settings, directory: Path) -> None:
        """`directory`: where a relative path of credentials starts."""
        self.project = settings.project
        self._settings = settings
        self._directory = directory
        self._lock = RLock()
        self._credentials: Any = None
        self._clients: dict[str, Any] = {}
        self._storage: Any = None

    def of(self, service: str) -> Any:
        """Return the client of a service. ProviderError where there are no credentials to be had."""
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._made(service)
            return self._clients[service]

    def session(self) -> Any:
        """Return an HTTP session with the credentials, for what the SDK has no client of."""
        from google.auth.transport.requests import AuthorizedSession

        with self._lock:
            return AuthorizedSession(self._scoped())  # type: ignore[no-untyped-call]  # it has no types

    def storage(self) -> Any:
        """Return the client of Cloud Storage. It is imported now: most never need it."""
        with self._lock:
            if self._storage is None:
                self._storage = self._made_storage()
            return self._storage

    @property
    def universe_domain(self) -> str:
        """Return the domain of the cloud that the credentials are for: googleapis.com, for all but a few."""
        with self._lock:
            return str(self._scoped().universe_domain)

    @property
    def resource_manager(self) -> str:
        """Return the URL of Cloud Resource Manager. Who has an endpoint of their own has it there, too."""
        with self._lock:
            return self._endpoint() or f"https://cloudresourcemanager.{self._scoped().universe_domain}"

    def close(self) -> None:
        with self._lock:
            for client in self._clients.values():
                client.transport.close()
            self._clients.clear()
            if self._storage is not None:
                self._storage.close()
                self._storage = None

    def _made(self, service: str) -> Any:
        from google.cloud import compute_v1
        from requests.adapters import HTTPAdapter

        kind = getattr(compute_v1, f"{''.join(word.capitalize() for word in service.split('_'))}Client")
        credentials = self._scoped()
        options = {"universe_domain": credentials.universe_domain}
        if endpoint := self._endpoint():
            options["api_endpoint"] = endpoint
        client = kind(credentials=credentials, client_options=options)
        connections = self._settings.parallel_calls + _SPARE_CONNECTIONS
        for scheme in ("https://", "http://"):  # there is no public way to have more than ten connections
            client.transport._session.mount(scheme, HTTPAdapter(pool_maxsize=connections))
        return client

    def _made_storage(self) -> Any:
        from google.cloud.storage.client import Client  # type: ignore[import-untyped]  # it has no types

        credentials = self._scoped()
        options = {"universe_domain": credentials.universe_domain}
        written = self._settings.storage_endpoint or environ.get(STORAGE_ENDPOINT_VARIABLE, "")
        if endpoint := written.removesuffix("/").removesuffix("/storage/v1"):
            options["api_endpoint"] = endpoint
        client = Client(project=self.project, credentials=credentials, client_options=options)
        # Newer SDKs look at the bucket from a thread of their own, for traces. That needs a permission that nothing
        # else here needs, and there is no public way to do without.
        client._bucket_metadata_cache = None
        return client

    def _endpoint(self) -> str:
        return (
            (self._settings.endpoint or environ.get(ENDPOINT_VARIABLE, ""))
            .removesuffix("/")
            .removesuffix("/compute/v1")
        )

    def _scoped(self) -> Any:
        if self._credentials is None:
            self._credentials = self._loaded()
        return self._credentials

    def _loaded(self) -> Any:
        import google.auth
        from google.auth.exceptions import GoogleAuthError

        try:
            if self._settings.credentials is None:
                credentials, _ = google.auth.default(scopes=list(SCOPES))
                return credentials
            path = self._directory / self._settings.credentials
            with warnings.catch_warnings():  # of files that somebody else might have chosen; the user wrote this one
                warnings.simplefilter("ignore", DeprecationWarning)
                load: Any = google.auth.load_credentials_from_file
                return load(str(path), scopes=list(SCOPES))[0]
        except (GoogleAuthError, OSError, ValueError) as exc:
            raise translated(exc, f"use project {self.project}") from exc


@cache
def begin_import() -> None:
    """Begin to import the SDK beside whatever this process does next."""
    Thread(target=_imported, name="import google-cloud-compute", daemon=True).start()


def _imported() -> None:
    import google.cloud.compute_v1  # noqa: F401  # only so that it is there when it is needed
