# segfocal in a container, with the pins of this repository: docs/containers.md
#   docker build -t segfocal .                             for a CPU, networks by OpenVINO
#   docker build -t segfocal --build-arg DEVICE=gpu .      for an NVIDIA GPU
ARG PYTHON=3.11
ARG DEVICE=cpu

FROM python:${PYTHON}-slim AS base
# where torch's wheels for a CPU are (pytorch.org names it); without it the CPU image holds the CUDA build, which is larger
ARG TORCH_INDEX=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
WORKDIR /opt/segfocal
COPY constraints.txt ./
RUN if [ -n "${TORCH_INDEX}" ]; then pip install --index-url "${TORCH_INDEX}" --constraint constraints.txt torch; fi
COPY pyproject.toml README.md LICENSE ./
COPY conf conf
COPY data/demo data/demo
COPY segfocal segfocal

FROM base AS cpu
RUN pip install --constraint constraints.txt ".[cpu,dicom]"

FROM base AS gpu
RUN pip install --constraint constraints.txt ".[dicom]"
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM ${DEVICE} AS final
# no root: masks belong to whoever runs it with --user
RUN useradd --create-home segfocal
USER segfocal
WORKDIR /work
ENTRYPOINT ["segfocal"]
CMD ["--help"]
