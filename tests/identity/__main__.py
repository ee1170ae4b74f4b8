"""`make identity`: write what follows from dapr/identity.yaml."""

from identity.rendered import renew

renew()
