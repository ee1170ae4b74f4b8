"""Whether the service in this container answers well: `alive.py PORT PATH`. Without curl, and without a package."""

import http.client
import sys

port, path = sys.argv[1:]
connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=3)
connection.request("GET", path)
sys.exit(connection.getresponse().status != http.HTTPStatus.OK)
