"""The payments service, put together."""

from chassis.service import Service
from payments.domain import rules

service = Service("payments", rules)
app = service.app

if __name__ == "__main__":
    service.run()
