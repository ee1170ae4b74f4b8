"""The inventory service, put together."""

from pydantic import Field

from chassis import process
from chassis.service import Service
from inventory.api import Api
from inventory.catalogue import offer_catalogue
from inventory.saga import rules, watch_reservations


class Settings(process.Settings):
    """What an operator may set, beside what every service has."""

    reservation_deadline_seconds: float = Field(default=90.0, gt=0)


settings = Settings()
watch_reservations(after=settings.reservation_deadline_seconds)
service = Service("inventory", rules, settings=settings)
service.routes(Api(service).router)
service.start_with(offer_catalogue)
app = service.app

if __name__ == "__main__":
    service.run()
