"""The gateway, put together: no rules, no store, no subscriptions."""

from chassis import process
from chassis.service import Service
from gateway.api import Api
from gateway.bounds import Bounds
from gateway.docs import describe


class Settings(process.Settings):
    """What an operator may set, beside what every service has."""

    request_bytes: int = 64 * 1024  # ten times the largest order


service = Service("gateway", settings=Settings())
service.routes(Api(service).router)
app = service.app
describe(app)
app.add_middleware(Bounds)

if __name__ == "__main__":
    service.run()
