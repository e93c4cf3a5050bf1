# syntax=docker/dockerfile:1
# The image of the controller. Two stages: one that builds, one that runs.
# At run time there is no compiler, no pip cache and no need for a shell; the root file system may be read-only.

FROM python:3.11.14-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE CHANGELOG.md ./
COPY issuer ./issuer
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --constraint constraints.txt . \
    && /opt/venv/bin/pip uninstall --yes pip setuptools \
    && python -m compileall -q /opt/venv

FROM python:3.11.14-slim-bookworm
LABEL org.opencontainers.image.title="cdn-issuer" \
      org.opencontainers.image.description="External issuer for cert-manager that fails over and never leaves a request stuck" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
COPY --from=build /opt/venv /opt/venv
# A number, so that Kubernetes can see that it is not root (runAsNonRoot).
USER 65532:65532
EXPOSE 8080
# Kubernetes asks /healthz and /readyz; a HEALTHCHECK of the engine would be a second opinion.
ENTRYPOINT ["/opt/venv/bin/cdn-issuer"]
CMD ["run"]
