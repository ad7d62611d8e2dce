"""The keys under which handlers find the parts of the application and the data of a request."""

from aiohttp import web

from server.catalogue.companion_files import CompanionFiles
from server.catalogue.presets import Presets
from server.config import ServerConfig
from server.http.api_keys import Caller
from server.http.event_streams import EventStreams
from server.hub.cache import HubCache
from server.hub.downloads import Downloads
from server.hub.lookups import Lookups
from server.metrics import ServerMetrics
from server.models.event_bus import EventBus
from server.models.registry import ModelRegistry
from server.monitoring.system_metrics import SystemMetrics
from server.requests.generation import Generation
from server.requests.remote_media import MediaFetcher
from server.status import ServerStatus

COMPANIONS: web.AppKey[CompanionFiles] = web.AppKey("COMPANIONS", CompanionFiles)
BUS: web.AppKey[EventBus] = web.AppKey("BUS", EventBus)
CONFIG: web.AppKey[ServerConfig] = web.AppKey("CONFIG", ServerConfig)
PRESETS: web.AppKey[Presets] = web.AppKey("PRESETS", Presets)
DOWNLOADS: web.AppKey[Downloads] = web.AppKey("DOWNLOADS", Downloads)
EVENT_STREAMS: web.AppKey[EventStreams] = web.AppKey("EVENT_STREAMS", EventStreams)
HUB_CACHE: web.AppKey[HubCache] = web.AppKey("HUB_CACHE", HubCache)
LOOKUPS: web.AppKey[Lookups] = web.AppKey("LOOKUPS", Lookups)
METRICS: web.AppKey[ServerMetrics] = web.AppKey("METRICS", ServerMetrics)
REGISTRY: web.AppKey[ModelRegistry] = web.AppKey("REGISTRY", ModelRegistry)
STATUS: web.AppKey[ServerStatus] = web.AppKey("STATUS", ServerStatus)
SYSTEM: web.AppKey[SystemMetrics] = web.AppKey("SYSTEM", SystemMetrics)

MEDIA: web.AppKey[MediaFetcher] = web.AppKey("MEDIA", MediaFetcher)

REQUEST_ID: web.RequestKey[str] = web.RequestKey("REQUEST_ID", str)
CALLER: web.RequestKey[Caller] = web.RequestKey("CALLER", Caller)
ALLOWED_ORIGIN: web.RequestKey[str] = web.RequestKey("ALLOWED_ORIGIN", str)
GENERATION: web.RequestKey[Generation] = web.RequestKey("GENERATION", Generation)
WARNINGS: web.RequestKey[tuple[str, ...]] = web.RequestKey("WARNINGS", tuple)
