"""The payments service, put together."""

from pydantic import Field

from chassis import process
from chassis.service import Service
from payments.saga import rules, watch_payments


class Settings(process.Settings):
    """What an operator may set, beside what every service has."""

    payment_deadline_seconds: float = Field(default=90.0, gt=0)  # of money that is held; longer than an order may take


settings = Settings()
watch_payments(after=settings.payment_deadline_seconds)
service = Service("payments", rules, settings=settings)
app = service.app

if __name__ == "__main__":
    service.run()
