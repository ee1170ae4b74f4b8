"""The orders service, put together."""

from pydantic import Field

from chassis import process
from chassis.service import Service
from orders.api import Api
from orders.saga import rules, watch_orders


class Settings(process.Settings):
    """What an operator may set, beside what every service has."""

    order_deadline_seconds: float = Field(default=60.0, gt=0)


settings = Settings()
watch_orders(after=settings.order_deadline_seconds)
service = Service("orders", rules, settings=settings)
service.routes(Api(service).router)
app = service.app

if __name__ == "__main__":
    service.run()
