"""Images in tar archives: what `docker save`, podman, skopeo, buildah and bazel write, and OCI archives."""
