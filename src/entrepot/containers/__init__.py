"""Containers: an image's files with a layer of their own on top, and a process in them.

Runs nothing itself: an OCI runtime (crun or runc) does. What is kept between commands is files below
`<store>/entrepot/containers` (see `records`); there is no daemon, each running container has a monitor
process.
"""
