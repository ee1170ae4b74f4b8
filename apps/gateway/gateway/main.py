"""The gateway, put together: no rules, no store, no subscriptions."""

from chassis.service import Service
from gateway.api import Api

service = Service("gateway")
service.routes(Api(service).router)
app = service.app

if __name__ == "__main__":
    service.run()
