"""The users service, put together."""

from chassis.service import Service
from users.domain import rules

service = Service("users", rules)
app = service.app

if __name__ == "__main__":
    service.run()
