# The image of the controller, on the Python that its tests run on.
# tests/component/test_wheel.py goes through its steps without a container engine.

FROM python:3.11.16-slim-bookworm AS build
WORKDIR /src
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore

# Wheels only: there is no compiler here, and none is wanted. The versions are those of CI.
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY issuer issuer
RUN pip install --only-binary :all: --constraint constraints.txt hatchling==1.33.0 \
    && pip wheel --no-deps --no-build-isolation --wheel-dir dist .
RUN python -m venv --without-pip /opt/venv \
    && pip --python /opt/venv/bin/python install --no-compile --only-binary :all: --constraint constraints.txt dist/*.whl


FROM python:3.11.16-slim-bookworm
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="cdn-issuer" \
      org.opencontainers.image.description="External issuer for cert-manager that fails over and never leaves a request stuck" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# Bytecode is made here, since nothing can be written at run time; of the standard library too, which the base image
# brings without, at twice the time to start. It is not checked against time stamps, which a copy need not keep.
COPY --from=build /opt/venv /opt/venv
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash /usr/local/lib/python3.11 /opt/venv/lib

ENV PYTHONDONTWRITEBYTECODE=1 \
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
