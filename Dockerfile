# The image of the controller: the Python that its tests run on, the wheels that its tests run with, and nothing else.
# tests/component/test_image.py and test_wheel.py go through these steps without a container engine.
#
# The base is pinned by the digest of its index, which is that of all platforms. To renew it, take the digest of
#   docker buildx imagetools inspect python:3.11.16-slim-bookworm
# (or let Dependabot do so, which follows the tag too); a base that is renewed brings Debian's security fixes. The
# plugin for Linux is built on the same: .github/workflows/release.yaml names it too, and a test compares the two.

FROM python:3.11.16-slim-bookworm@sha256:0bee7276f83efd4a1ee05bbbf4281d95ed28e079220a9457f25a93e3f1e3c31b AS build
WORKDIR /src
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONHASHSEED=0

# Wheels only, for there is no compiler here and none is wanted, and none but those whose hashes `make lock` wrote
# down. The versions are those of CI.
COPY deploy/image image
RUN python -m venv /opt/tools \
    && /opt/tools/bin/pip install --only-binary :all: --require-hashes --requirement image/tools.lock
RUN python -m venv --without-pip /opt/venv \
    && /opt/tools/bin/pip --python /opt/venv/bin/python install --no-compile --only-binary :all: --require-hashes --requirement image/runtime.lock

COPY pyproject.toml README.md LICENSE ./
COPY issuer issuer
RUN /opt/tools/bin/pip wheel --no-deps --no-index --no-build-isolation --wheel-dir dist . \
    && /opt/tools/bin/pip --python /opt/venv/bin/python install --no-compile --no-deps --no-index dist/*.whl

# Bytecode is made here, since nothing can be written at run time; of the standard library too, which the base image
# brings without, at twice the time to start. It is not checked against time stamps, which a copy need not keep. Also
# where pip left some, which has time stamps; and by one process, so that two builds are alike to the byte.
RUN python -m compileall -q -f --invalidation-mode unchecked-hash /usr/local/lib/python3.11 /opt/venv/lib \
    && python image/rootfs.py /rootfs /opt/venv


# What is in the environment, as CycloneDX: docker buildx bake sbom
FROM build AS inventory
RUN /opt/tools/bin/cyclonedx-py environment --pyproject pyproject.toml --mc-type application --output-reproducible --spec-version 1.6 --output-format JSON --output-file /sbom.cdx.json /opt/venv/bin/python

FROM scratch AS sbom
COPY --from=inventory /sbom.cdx.json /


# No base, so no shell and no package manager either: image/rootfs.py took what Python needs of Debian.
FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="cdn-issuer" \
      org.opencontainers.image.description="External issuer for cert-manager that fails over and never leaves a request stuck" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /rootfs /

# The locale is the base image's, in which Python reads and writes UTF-8.
ENV LANG=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

# A number, so that Kubernetes can check runAsNonRoot. It owns no file of the image, and the root file system can be
# read-only: nothing is written but to standard error.
USER 65532:65532
WORKDIR /

# /healthz, /readyz and /metrics. No HEALTHCHECK: Kubernetes does not look at it, it has probes of its own.
EXPOSE 8080

# Without a shell, so that SIGTERM reaches the controller itself and it can deliver what is signed.
ENTRYPOINT ["/opt/venv/bin/cdn-issuer"]
CMD ["run"]
