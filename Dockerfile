# Two images from one tree: `operator` (no torch) and `trainer`.
#   docker build --target operator --tag oarlock-operator:0.1.0 .
#   docker build --target trainer  --tag oarlock-trainer:0.1.0  .
# The trainer's base brings torch for the cluster's GPUs; any image with Python 3.11 or newer and torch 2.11 or newer will do:
#   docker build --target trainer --build-arg TRAINER_BASE=my/pytorch:latest .

ARG PYTHON_BASE=python:3.12-slim-bookworm
ARG TRAINER_BASE=pytorch/pytorch:2.11.0-cuda13.0-cudnn9-runtime

FROM ${PYTHON_BASE} AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY crds crds
COPY operator operator
COPY trainer trainer
COPY client client
RUN pip install --no-cache-dir build==1.3.0 && python -m build --wheel --outdir /dist

FROM ${PYTHON_BASE} AS operator
LABEL org.opencontainers.image.title="oarlock-operator" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY constraints.txt /tmp/constraints.txt
RUN --mount=type=bind,from=build,source=/dist,target=/dist \
    pip install --no-cache-dir --constraint /tmp/constraints.txt "$(echo /dist/oarlock-*.whl)[operator]"
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
EXPOSE 8080 8081
ENTRYPOINT ["oarlock-operator"]

FROM ${TRAINER_BASE} AS trainer
LABEL org.opencontainers.image.title="oarlock-trainer" \
      org.opencontainers.image.licenses="Apache-2.0"
# torch is the base's: only what is missing beside it is installed.
RUN --mount=type=bind,from=build,source=/dist,target=/dist \
    pip install --no-cache-dir "$(echo /dist/oarlock-*.whl)[export,tensorboard,trainer]"
# Without this a restarted torchrun reads the addresses of dead workers from the rendezvous store.
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
USER 65532:65532
EXPOSE 8470
ENTRYPOINT []
CMD ["python", "-m", "oarlock_trainer.agent", "train"]
