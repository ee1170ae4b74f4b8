"""The gateway, put together: no rules, no store, no subscriptions."""

from pydantic import Field

from chassis import process
from chassis.service import Service
from gateway.api import Api
from gateway.bounds import Bounds
from gateway.docs import describe
from gateway.page import Page
from gateway.upstream import PATIENCE

BEHIND = ("users", "orders", "inventory", "payments", "notifications")


class Settings(process.Settings):
    """What an operator may set, beside what every service has."""

    otel_exporter_zipkin_endpoint: str = ""  # the page links to its host
    request_bytes: int = 64 * 1024  # ten times the largest order
    patience: float = Field(default=PATIENCE, ge=0, validation_alias="GATEWAY_PATIENCE")  # s, for who is not there


settings = Settings()
service = Service("gateway", settings=settings)
page = Page(service, BEHIND, traces=settings.otel_exporter_zipkin_endpoint)
service.routes(Api(service, page.live.note, settings.patience).router)
service.routes(page.router)
app = service.app
describe(app)
app.add_middleware(Bounds)

if __name__ == "__main__":
    service.run()
