"""The users service, put together."""

from chassis.service import Service
from users.api import Api
from users.domain import rules
from users.people import register_people

service = Service("users", rules)
service.routes(Api(service).router)
service.start_with(register_people)
app = service.app

if __name__ == "__main__":
    service.run()
