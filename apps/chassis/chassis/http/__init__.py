"""HTTP as a service meets it: the server, the edge that every request passes, bodies and how problems look."""
