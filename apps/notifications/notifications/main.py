"""The notifications service, put together."""

from chassis.service import Service
from notifications.mail import rules

service = Service("notifications", rules)
app = service.app

if __name__ == "__main__":
    service.run()
