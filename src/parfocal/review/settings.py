"""How the review is served."""

from __future__ import annotations

from dataclasses import dataclass, field

from parfocal.errors import SettingsError
from parfocal.review.accounts.accounts import SessionLimits
from parfocal.review.addresses import is_loopback
from parfocal.review.shelf.places import LocalPlaces, RemotePlaces, places_at

DATABASE_FILE = "parfocal.sqlite"


@dataclass(frozen=True)
class ServeSettings:
    """How the review is served.

    Attributes:
        source: folder of slides, one slide, or the URL of either.
        database: URL; None for `parfocal.sqlite` beside the slides.
        host: address to listen on.
        port: to listen on; 0 for any that is free.
        cache_mb: what encoded tiles may take in memory, in MB.
        proxy_header: request header in which a reverse proxy names who it has signed in; None for passwords.
        sessions: how long a browser stays signed in.
        behind_https: whether cookies are only for https, which a reverse proxy speaks.

    Raises:
        SettingsError: if a value is not possible, or a header would be believed from other computers.
    """

    source: str = "."
    database: str | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    cache_mb: float = 256.0
    proxy_header: str | None = None
    sessions: SessionLimits = field(default_factory=SessionLimits)
    behind_https: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise SettingsError(f"port {self.port} is not 0 to 65535")
        if not 1 <= self.cache_mb <= 1e6:
            raise SettingsError(f"cache of {self.cache_mb:g} MB is not 1 to 1,000,000 MB")
        if self.proxy_header is not None and not self.is_loopback:
            raise SettingsError(
                f"the header {self.proxy_header} would be believed from any computer that reaches {self.host}: "
                "listen on 127.0.0.1, where the reverse proxy is"
            )

    @property
    def is_loopback(self) -> bool:
        """Whether only this computer can connect."""
        return self.host == "localhost" or is_loopback(self.host)

    @property
    def is_behind_proxy(self) -> bool:
        """Whether a reverse proxy on this computer speaks for browsers elsewhere."""
        return self.behind_https or self.proxy_header is not None


def database_of(places: LocalPlaces | RemotePlaces, url: str | None) -> str:
    """The database's URL: as it is given, or a file beside the slides; in the working folder for slides at a URL."""
    if url is not None:
        return url
    return (
        f"sqlite:///{places.root / DATABASE_FILE}" if isinstance(places, LocalPlaces) else f"sqlite:///{DATABASE_FILE}"
    )


def default_database(source: str) -> str:
    """The database that serving this folder or URL would use."""
    return database_of(places_at(source), None)
