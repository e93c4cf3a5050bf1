# docker buildx bake          the image for this machine, as cdn-issuer:dev (`make image`)
# docker buildx bake sbom     dist/sbom.cdx.json, what is installed in it
# docker buildx bake release  for all platforms, pushed by digest; .github/workflows/release.yaml does this
#
# Each variable can be set in the environment. What is empty is left to the Dockerfile, or out. Buildx itself passes on
# SOURCE_DATE_EPOCH, in seconds since 1970: no file of a release is younger, so two builds of a commit are alike.

variable "IMAGE" {
  description = "Where the image goes, without a tag"
  default     = "cdn-issuer"
}

variable "VERSION" {
  description = "Version of the package, as in pyproject.toml"
  default     = ""
}

variable "REVISION" {
  description = "Commit that is built"
  default     = ""
}

variable "CREATED" {
  description = "Time of that commit (RFC 3339)"
  default     = ""
}

variable "SOURCE" {
  description = "Address of the repository"
  default     = ""
}

group "default" {
  targets = ["image"]
}

target "image" {
  args = {
    VERSION  = VERSION == "" ? null : VERSION
    REVISION = REVISION == "" ? null : REVISION
  }
  labels = {
    "org.opencontainers.image.created"       = CREATED == "" ? null : CREATED
    "org.opencontainers.image.source"        = SOURCE == "" ? null : SOURCE
    "org.opencontainers.image.url"           = SOURCE == "" ? null : SOURCE
    "org.opencontainers.image.documentation" = SOURCE == "" ? null : "${SOURCE}/blob/${REVISION == "" ? "HEAD" : REVISION}/README.md"
  }
  tags   = ["${IMAGE}:${VERSION == "" ? "dev" : VERSION}"]
  output = ["type=docker"]
}

target "release" {
  inherits  = ["image"]
  platforms = ["linux/amd64", "linux/arm64"]
  attest    = ["type=provenance,mode=max"]
  tags      = []
  output    = ["type=image,name=${IMAGE},push=true,push-by-digest=true,name-canonical=true,rewrite-timestamp=true"]
}

# The wheels have the same versions on all platforms (tests/component/test_lock.py).
target "sbom" {
  target = "sbom"
  output = ["type=local,dest=dist"]
}
